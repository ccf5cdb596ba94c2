package postgres_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/internal/postgres/postgrestest"
)

// certificate makes a key and a certificate for 127.0.0.1 that vouches for itself.
func certificate(t *testing.T) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, form, form, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
}

// TestTLS reads rows over TLS, and does not over one that cannot be trusted.
func TestTLS(t *testing.T) {
	t.Parallel()
	s, err := postgrestest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	cert, key := certificate(t)
	for name, text := range map[string][]byte{"server.crt": cert, "server.key": key} {
		if err := s.WriteFile(name, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Stop(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := s.Run("ssl=on"); err != nil {
		t.Fatal(err)
	}
	dsn := s.Database(t, series, "INSERT INTO t SELECT i, repeat('x', i % 3000) FROM generate_series(1, 5000) i")
	root := filepath.Join(t.TempDir(), "root.crt")
	if err := os.WriteFile(root, cert, 0o600); err != nil {
		t.Fatal(err)
	}
	c := connect(t, strings.Replace(dsn, "sslmode=disable", "sslmode=verify-full&sslrootcert="+root, 1))
	l, err := postgres.NewLayout(listOne(t, c, "t"), postgres.LayoutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	d := l.Decoder()
	if err := c.StreamInto(t.Context(), "SELECT "+l.Select()+" FROM t ORDER BY t.id", nil, d, postgres.StreamOptions{}); err != nil {
		t.Fatal(err)
	}
	if b := only(t, d); b.Rows != 5000 || len(b.Columns[1].Text(4998)) != 1999 {
		t.Errorf("%d rows", b.Rows)
	}
	other, _ := certificate(t)
	if err := os.WriteFile(root, other, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = postgres.Connect(t.Context(), postgres.Options{DSN: strings.Replace(dsn, "sslmode=disable", "sslmode=verify-full&sslrootcert="+root, 1)})
	if fault.Code(err) != "ACQ-PG-009" || fault.Of(err) != fault.Fatal {
		t.Error(err)
	}
}
