package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/acequia-io/acequia/internal/mongodb/mongodbtest"
	"github.com/acequia-io/acequia/internal/mysql/mysqltest"
	"github.com/acequia-io/acequia/internal/parquet/parquettest"
)

// cinemaProject carries a source into one sink. %s: the source, the sink.
const cinemaProject = `version: 1
sources:
  cinema: { %s }
sinks:
  to: { %s }
pipelines:
  cinema: { from: cinema, to: [to] }
`

// The sinks.
const (
	toLake  = "type: lake, url: lake"
	toItems = "type: items"
)

// mariaOrders makes a server with a table of 12 columns, and gives the settings that read it.
func mariaOrders(b *testing.B, rows int) (s *mysqltest.Server, database, source string) {
	b.Helper()
	s, err := mysqltest.Start("--innodb-buffer-pool-size=2G")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	path := filepath.Join(s.Data, "orders.tsv") // the server reads what is in its own folder
	if err := writeOrders(path, rows); err != nil {
		b.Fatal(err)
	}
	database = s.Database(b, `create table orders (id bigint primary key, user_id bigint not null, created_at timestamp(6) not null, updated_at timestamp(6) not null,
		status varchar(20) not null, country varchar(20) not null, amount decimal(12,2) not null, price double not null, qty int not null, email varchar(100) not null,
		note varchar(200), discount double)`,
		"set time_zone = '+00:00'",
		"load data infile '"+path+`' into table orders character set utf8mb4 (id, user_id, @created, @updated, status, country, amount, price, qty, email, note, discount)
			set created_at = replace(@created, '+00', ''), updated_at = replace(@updated, '+00', '')`,
		"analyze table orders")
	if err := os.Remove(path); err != nil {
		b.Fatal(err)
	}
	return s, database, fmt.Sprintf("type: mysql, dsn: %q, capture: { strategy: log }", s.DSN(database))
}

func writeOrders(path string, rows int) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644) //nolint:gosec // the server reads it as another user
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	out, t := bufio.NewWriterSize(f, 1<<20), parquettest.NewOrders(parquettest.NoSystem)
	for left := rows; left > 0; left -= batchRows {
		n := min(left, batchRows)
		if err := copyRows(out, t.Fields, t.Next(n), n); err != nil {
			return err
		}
	}
	return out.Flush()
}

// printOrders is the floor: MySQL's own client prints the table to nowhere.
func printOrders(ctx context.Context, s *mysqltest.Server, database string, rows int) (got sample, err error) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return got, err
	}
	defer func() { err = errors.Join(err, null.Close()) }()
	cmd := exec.CommandContext(ctx, "mysql", "--no-defaults", "--protocol=tcp", "--host=127.0.0.1", fmt.Sprintf("--port=%d", s.Port), "--user=root",
		"--quick", "-e", "select * from orders", database)
	cmd.Stdout = null
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return got, err
	}
	return sample{Rows: int64(rows), Wall: time.Since(began), CPU: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}, nil
}

// BenchmarkCinemaMySQL reads a table of 12 columns of MariaDB into zstd Parquet by the program itself.
func BenchmarkCinemaMySQL(b *testing.B) {
	const rows = 2_000_000
	path := program(b)
	s, database, source := mariaOrders(b, rows)
	const name, floor = "backfill", "mysql --quick"
	samples := map[string][]sample{}
	for range rounds() {
		printed, err := printOrders(b.Context(), s, database, rows)
		if err != nil {
			b.Fatal(err)
		}
		samples[floor] = append(samples[floor], printed)
		got, err := backfill(b.Context(), path, b.TempDir(), fmt.Sprintf(cinemaProject, source, toLake), rows)
		if err != nil {
			b.Fatal(err)
		}
		samples[name] = append(samples[name], got)
	}
	table(b, "MySQL: 2 M rows of 12 columns into the lake", []string{floor, name}, samples, perCPUSecond(), seconds(), peakMemory())
	ratio(b, "MySQL to lake, time to that of mysql --quick", samples[name], samples[floor], seconds())
}

// films fills a collection, and gives the settings that read it.
func films(b *testing.B, rows int) (read func(context.Context) (sample, error), source string) {
	b.Helper()
	s, err := mongodbtest.Start()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	db := s.Database(b)
	c := db.Collection("movies")
	genres := []string{"Drama", "Comedy", "Action", "Musical", "Horror", "Western"}
	docs := make([]bson.D, rows)
	for i := range docs {
		docs[i] = bson.D{
			{Key: "_id", Value: bson.ObjectID{0: 1, 8: byte(i >> 24), 9: byte(i >> 16), 10: byte(i >> 8), 11: byte(i)}},
			{Key: "title", Value: fmt.Sprintf("The film of number %d", i)},
			{Key: "year", Value: int32(1920 + i%105)},
			{Key: "minutes", Value: int32(60 + i%120)}, //nolint:gosec // few
			{Key: "rating", Value: float64(i%100) / 10},
			{Key: "votes", Value: int64(i) * 7},
			{Key: "released", Value: bson.DateTime(int64(i) * 86_400_000)},
			{Key: "genres", Value: bson.A{genres[i%6], genres[i*7%6]}},
			{Key: "info", Value: bson.D{{Key: "director", Value: fmt.Sprint("Director ", i%5000)}, {Key: "country", Value: "FR"}}},
			{Key: "note", Value: fmt.Sprintf("%d people have seen it, and %d of them twice", i%9973, i%97)},
			{Key: "colour", Value: i%3 > 0},
			{Key: "gross", Value: float64(i) * 1.5},
		}
	}
	mongodbtest.Insert(b, c, docs...)
	read = func(ctx context.Context) (sample, error) {
		m := startMeter()
		cursor, err := c.Find(ctx, bson.D{})
		if err != nil {
			return sample{}, err
		}
		n := int64(0)
		for cursor.Next(ctx) { // and decodes nothing
			n++
		}
		return m.stop(n), errors.Join(cursor.Err(), cursor.Close(ctx))
	}
	return read, fmt.Sprintf("type: mongodb, uri: %q, database: %s, capture: { strategy: time, column: released }", s.URI, db.Name())
}

// BenchmarkCinemaMongoDB reads a collection of 12 fields into zstd Parquet by the program itself. The floor is the driver's cursor, in a loop
// that looks at no document. The server of the tests reads all of a collection for each query, and the more slowly the more there is: so there
// are few documents, and a strategy whose first read is one query.
func BenchmarkCinemaMongoDB(b *testing.B) {
	const rows = 10_000
	path := program(b)
	read, source := films(b, rows)
	const name, floor = "backfill", "cursor alone"
	samples := map[string][]sample{}
	for range rounds() {
		bare, err := read(b.Context())
		if err != nil || bare.Rows != rows {
			b.Fatal(bare.Rows, err)
		}
		samples[floor] = append(samples[floor], bare)
		got, err := backfill(b.Context(), path, b.TempDir(), fmt.Sprintf(cinemaProject, source, toLake), rows)
		if err != nil {
			b.Fatal(err)
		}
		samples[name] = append(samples[name], got)
	}
	table(b, "MongoDB's protocol (FerretDB): 10,000 documents of 12 fields into the lake", []string{floor, name}, samples, perCPUSecond(), seconds(), peakMemory())
	ratio(b, "MongoDB to lake, time to that of a cursor", samples[name], samples[floor], seconds())
}

// BenchmarkCinemaItems reads a table of MariaDB into embedded items by the program itself.
func BenchmarkCinemaItems(b *testing.B) {
	const rows = 300_000
	path := program(b)
	_, _, source := mariaOrders(b, rows)
	samples := map[string][]sample{}
	for range rounds() {
		got, err := backfill(b.Context(), path, b.TempDir(), fmt.Sprintf(cinemaProject, source, toItems), rows)
		if err != nil {
			b.Fatal(err)
		}
		samples["items"] = append(samples["items"], got)
	}
	table(b, "MySQL: 300,000 rows of 12 columns into embedded items", []string{"items"}, samples, perSecond(), perCPUSecond(), peakMemory())
}
