package mysql

import (
	"context"
	"strconv"
	"time"

	"github.com/acequia-io/acequia/internal/mysql"
	"github.com/acequia-io/acequia/sources"
)

var _ sources.Lagger = (*Source)(nil)

// Lag says how old the oldest change is that the log gave and that is not durable yet, and how long the server keeps what was not read: it
// throws the log away after a time, whoever has read it.
func (s *Source) Lag(ctx context.Context) (lag sources.Lag, err error) {
	lag.Records = -1
	s.mu.Lock()
	reader := s.feed.reader
	s.mu.Unlock()
	if reader == nil {
		return lag, nil
	}
	lag.Age = reader.age(time.Now())
	keeps, err := s.keepsLog(ctx)
	if err == nil && keeps > 0 {
		lag.Loss = max(1, keeps-lag.Age)
	}
	return lag, err
}

// keepsLog is how long the server keeps its log; 0: for ever.
func (s *Source) keepsLog(ctx context.Context) (keeps time.Duration, err error) {
	err = s.with(ctx, func(c *mysql.Conn) error {
		rows, err := c.Query(ctx, "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('binlog_expire_logs_seconds', 'expire_logs_days')")
		for _, r := range rows {
			n, bad := strconv.ParseFloat(r.Text(1), 64)
			unit := time.Second
			if r.Text(0) == "expire_logs_days" {
				unit = 24 * time.Hour
			}
			if one := time.Duration(n * float64(unit)); bad == nil && one > 0 && (keeps == 0 || one < keeps) {
				keeps = one
			}
		}
		return mysql.Explain(err, "ask how long the log is kept", c.Host())
	})
	return keeps, err
}
