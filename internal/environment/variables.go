// Package environment reads what the cinema service is told by environment variables and a .env file, without a configuration file,
// and writes the configuration that they imply.
package environment

import (
	"errors"
	"io/fs"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/joho/godotenv"

	"github.com/acequia-io/acequia/fault"
)

// Variables are those of the process, those of a .env file that the process does not have, and the DSNs that are put together from both.
type Variables map[string]string

// Dotenv is the file that is read when it is there, in the working directory.
const Dotenv = ".env"

// Load reads the variables of the process, as os.Environ gives them, and those of a .env file; "" is Dotenv, which may be missing.
func Load(process []string, file string) (Variables, error) {
	named := file != ""
	if !named {
		file = Dotenv
	}
	text, err := os.ReadFile(file) //nolint:gosec // a file that the user named, or keeps here
	if err != nil && (named || !errors.Is(err, fs.ErrNotExist)) {
		return nil, &fault.Error{Code: "ACQ-ENV-008", Place: file, Err: err, Remedy: "name a file of NAME=value lines that this user may read"}
	}
	v, err := godotenv.UnmarshalBytes(text)
	if err != nil {
		return nil, &fault.Error{Code: "ACQ-CFG-013", Place: file, Err: mistaken(err), Remedy: "write NAME=value lines; put values with spaces, # or $ in single quotes"}
	}
	out := Variables(v)
	for _, pair := range process {
		if name, value, ok := strings.Cut(pair, "="); ok {
			out[name] = value
		}
	}
	for name, dsn := range map[string]string{"MYSQL_DSN": out.mysql(), "POSTGRES_DSN": out.postgres()} {
		if !out.set(name) && dsn != "" {
			out[name] = dsn
		}
	}
	return out, nil
}

// mistaken leaves out what the parser quotes of the file: there are passwords in it.
func mistaken(err error) error {
	text := err.Error()
	for _, before := range []string{" near ", "value "} {
		text, _, _ = strings.Cut(text, before)
	}
	return errors.New(text)
}

// Lookup gives a variable as os.LookupEnv does.
func (v Variables) Lookup(name string) (string, bool) {
	value, ok := v[name]
	return value, ok
}

// set says whether a variable has a value: compose files set what is not given to nothing.
func (v Variables) set(name string) bool { return v[name] != "" }

func (v Variables) or(name, other string) string {
	if v.set(name) {
		return v[name]
	}
	return other
}

// mysql puts the DSN together; "": no host is named.
func (v Variables) mysql() string {
	if !v.set("MYSQL_HOST") {
		return ""
	}
	return (&url.URL{
		Scheme: "mysql", User: v.user("MYSQL"), Host: net.JoinHostPort(v["MYSQL_HOST"], v.or("MYSQL_PORT", "3306")), Path: "/" + v["MYSQL_DATABASE"],
	}).String()
}

// connectSeconds is how long PostgreSQL may take to let a session in.
const connectSeconds = 3

func (v Variables) postgres() string {
	host, port := v["POSTGRES_HOST"], v.or("POSTGRES_PORT", "5432")
	if host == "" {
		return ""
	}
	at := url.URL{Scheme: "postgres", User: v.user("POSTGRES"), Path: "/" + v["POSTGRES_DATABASE"]}
	options := url.Values{"connect_timeout": {strconv.Itoa(connectSeconds)}}
	if strings.HasPrefix(host, "/") { // the folder of a socket
		options.Set("host", host)
		options.Set("port", port)
	} else {
		at.Host = net.JoinHostPort(host, port)
	}
	at.RawQuery = options.Encode()
	return at.String()
}

func (v Variables) user(of string) *url.Userinfo {
	if v.set(of + "_PASSWORD") {
		return url.UserPassword(v[of+"_USER"], v[of+"_PASSWORD"])
	}
	return url.User(v[of+"_USER"])
}

// home is the database that the DSN of MySQL names.
func (v Variables) home() string {
	at, err := url.Parse(v["MYSQL_DSN"])
	if err != nil {
		return ""
	}
	return strings.Trim(at.Path, "/")
}

// database is the one that a MongoDB URI names, else MONGODB_DATABASE.
func (v Variables) database() string {
	_, rest, _ := strings.Cut(v["MONGODB_URI"], "://")
	rest, _, _ = strings.Cut(rest, "?")
	_, path, _ := strings.Cut(rest[strings.LastIndex(rest, "@")+1:], "/")
	if name, err := url.PathUnescape(path); err == nil && name != "" {
		return name
	}
	return v["MONGODB_DATABASE"]
}
