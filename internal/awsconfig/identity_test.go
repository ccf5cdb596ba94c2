package awsconfig_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/awsconfig"
)

// TestIdentify asks a server that speaks the protocol, and ones whose clocks go elsewhere or that refuse.
func TestIdentify(t *testing.T) {
	t.Parallel()
	c, err := awsconfig.Load(t.Context(), server.Settings)
	if err != nil {
		t.Fatal(err)
	}
	if who, err := awsconfig.Identify(t.Context(), c); err != nil || len(who.Account) != 12 || !strings.HasPrefix(who.ARN, "arn:aws:") || who.Skew != 0 {
		t.Errorf("%+v %v", who, err)
	}
	for ahead, want := range map[time.Duration]time.Duration{0: 0, time.Hour: time.Hour, -10 * time.Minute: -10 * time.Minute} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
			w.Header().Set("Content-Type", "text/xml")
			_, _ = fmt.Fprint(w, `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult><Arn>arn:aws:iam::123456789012:user/a</Arn>`+
				`<Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`)
		}))
		t.Cleanup(s.Close)
		c, err := awsconfig.Load(t.Context(), awsconfig.Settings{Region: "eu-west-1", Endpoint: s.URL})
		if err != nil {
			t.Fatal(err)
		}
		who, err := awsconfig.Identify(t.Context(), c)
		if off := (who.Skew - want).Abs(); err != nil || off > time.Minute || want == 0 && who.Skew != 0 || who.Account != "123456789012" {
			t.Errorf("%v: %+v %v", ahead, who, err)
		}
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = fmt.Fprint(w, `<ErrorResponse><Error><Code>InvalidClientTokenId</Code><Message>no</Message></Error></ErrorResponse>`)
	}))
	t.Cleanup(s.Close)
	if c, err = awsconfig.Load(t.Context(), awsconfig.Settings{Region: "eu-west-1", Endpoint: s.URL}); err != nil {
		t.Fatal(err)
	}
	if _, err := awsconfig.Identify(t.Context(), c); fault.Code(err) != "ACQ-AWS-003" {
		t.Error(err)
	}
}
