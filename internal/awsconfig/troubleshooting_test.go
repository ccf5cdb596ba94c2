package awsconfig_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/smithy-go"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/config"
)

// TestTroubleshooting wants the pages on troubles to say of each error of AWS what acequia says of it: name, code and remedy, in both languages.
func TestTroubleshooting(t *testing.T) {
	t.Parallel()
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	const noCredentials = "Credenciales de AWS no encontradas (no "
	all := map[string]error{"connection refused": refused, noCredentials: errors.New("failed to refresh cached credentials, no EC2 IMDS role found")}
	for _, code := range []string{
		"ExpiredToken", "RequestTimeTooSkewed", "AccessDenied", "NoSuchBucket", "ResourceNotFoundException", "PermanentRedirect", "SlowDown",
	} {
		all[code] = service(code)
	}
	for name, err := range all {
		explained, ok := errors.AsType[*fault.Error](awsconfig.Explain(err, "try", "place"))
		if !ok || explained.Code == "" {
			t.Errorf("%s: %v", name, explained)
			continue
		}
		for page, lang := range map[string]string{"troubleshooting.md": "en", "troubleshooting.es.md": "es"} {
			text, readErr := os.ReadFile(filepath.Join("..", "..", "docs", page)) //nolint:gosec // our own page
			if readErr != nil {
				t.Fatal(readErr)
			}
			remedy := config.Translation(lang)(explained.Remedy)
			if lang == "es" && remedy == explained.Remedy {
				t.Errorf("%s: no Spanish for %q", name, remedy)
			}
			if name == "PermanentRedirect" { // the page says it in other words
				remedy = "aws: { region: ... }"
			}
			for _, part := range []string{name, explained.Code, remedy} {
				if !strings.Contains(string(text), part) {
					t.Errorf("%s does not say %q of %s", page, part, name)
				}
			}
		}
	}
}

func service(code string) error {
	return &smithy.OperationError{ServiceID: "S3", OperationName: "Try", Err: &smithy.GenericAPIError{Code: code, Message: "no"}}
}
