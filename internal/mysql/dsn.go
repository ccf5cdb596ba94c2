package mysql

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/acequia-io/acequia/fault"
)

// address is what a dsn names.
type address struct {
	host     string // with its port, or the path of a socket
	user     string
	password string
	database string
	tls      *tls.Config // nil: none
	plain    bool        // a server without encryption will do
}

// parseDSN reads mysql://user:password@host:port/database?tls=MODE. Modes are those of the clients of MySQL, see docs/MYSQL.md. Nothing of
// the dsn is in its errors: what surrounds a mistake may be the password.
func parseDSN(dsn string) (address, error) {
	refuse := func(format string, args ...any) (address, error) {
		return address{}, &fault.Error{
			Class: fault.Fatal, Code: codeDSN, Place: "dsn", Err: fmt.Errorf(format, args...),
			Remedy: "characters such as @ : / in a password are written %40 %3A %2F",
		}
	}
	u, err := url.Parse(dsn)
	if err != nil || u.Host == "" && u.Query().Get("socket") == "" || u.Opaque != "" {
		return refuse("it is not mysql://user:password@host:port/database")
	}
	if u.Scheme != "mysql" && u.Scheme != "mariadb" {
		return refuse("it begins with neither mysql:// nor mariadb://")
	}
	a := address{user: u.User.Username(), database: strings.TrimPrefix(u.Path, "/")}
	a.password, _ = u.User.Password()
	a.host = net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "3306"))
	mode := "disable"
	if !isLoopback(u.Hostname()) {
		mode = "prefer"
	}
	var authority string
	for key, values := range u.Query() {
		switch key {
		case "tls":
			mode = values[0]
		case "ca":
			authority = values[0]
		case "socket":
			a.host, mode = values[0], "disable"
		default:
			return refuse("it has a setting that is not known; there are tls, ca and socket")
		}
	}
	if a.tls, err = encryption(mode, authority, u.Hostname()); err != nil {
		return refuse("%w", err)
	}
	a.plain = mode == "prefer"
	return a, nil
}

// isLoopback says whether a host is this machine: what is sent there passes no network.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// encryption makes of the modes of a dsn what a connection needs.
func encryption(mode, authority, host string) (*tls.Config, error) {
	config := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	switch mode {
	case "disable":
		return nil, nil //nolint:nilnil // said above
	case "prefer", "require": // encrypted, with whomever
		config.InsecureSkipVerify = true
		return config, nil
	case "verify":
	default:
		return nil, errors.New("its tls is not disable, prefer, require or verify")
	}
	if authority == "" {
		return config, nil
	}
	pem, err := os.ReadFile(authority) //nolint:gosec // the user's own file
	if err != nil {
		return nil, errors.New("its ca cannot be read")
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return nil, errors.New("its ca holds no certificate")
	}
	return config, nil
}
