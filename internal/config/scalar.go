package config

import (
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// scalar fills text, numbers and the types that are written as one text.
func (d *decoder) scalar(v reflect.Value, n, key *node, f field) {
	want := wanted(v.Type())
	switch {
	case want == "":
		d.unsupported(v, n, f)
		return
	case n.kind != scalar:
		d.wrong(n, f.name, want, "")
		return
	}
	remedy, ok := "", true
	switch t := v.Type(); {
	case t == reflect.TypeFor[Secret]():
		v.SetString(n.text)
		d.secret(n, f)
	case t == reflect.TypeFor[time.Duration]():
		remedy, ok = setDuration(v, n.text)
	case t == reflect.TypeFor[Size]():
		s, err := ParseSize(n.text)
		v.SetInt(int64(s))
		remedy, ok = sizeRemedy(n.text), err == nil
	case t == reflect.TypeFor[Share]():
		s, err := ParseShare(n.text)
		v.SetFloat(float64(s))
		ok = err == nil
	case t.Kind() == reflect.String:
		v.SetString(n.text)
		d.text(n, key, f)
	case t.Kind() == reflect.Bool:
		remedy, ok = setBool(v, n.text)
	case v.CanInt():
		remedy, ok = setInt(v, n.text)
	case v.CanUint():
		remedy, ok = setUint(v, n.text)
	default:
		number, err := strconv.ParseFloat(n.text, 64)
		ok = err == nil && !math.IsInf(number, 0) && !math.IsNaN(number) && !v.OverflowFloat(number) && !strings.ContainsAny(n.text, "xX_")
		if ok {
			v.SetFloat(number)
		}
	}
	if !ok {
		d.wrong(n, f.name, want, remedy)
	}
}

// wanted says what a type takes; "" is nothing.
func wanted(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return "a duration such as 5s"
	case reflect.TypeFor[Size]():
		return "a size such as 128MiB"
	case reflect.TypeFor[Share]():
		return "a share such as 5% or 0.05"
	}
	switch t.Kind() {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number from 0"
	case reflect.Float32, reflect.Float64:
		return "a number"
	default:
		return ""
	}
}

func setDuration(v reflect.Value, text string) (remedy string, ok bool) {
	length, err := ParseDuration(text)
	if err == nil && length >= 0 {
		v.SetInt(int64(length))
		return "", true
	}
	if n, err := strconv.ParseUint(text, 10, 32); err == nil {
		return "write the unit, as in " + strconv.FormatUint(n, 10) + "s", false
	}
	return hint(text, "the units are ms, s, m, h and d"), false
}

func sizeRemedy(text string) string {
	upper := strings.ToUpper(strings.ReplaceAll(text, " ", ""))
	digits := strings.TrimRight(upper, "KMGTIB")
	unit := upper[len(digits):]
	if _, err := strconv.ParseUint(digits, 10, 63); err == nil && unit != "" {
		if size, err := ParseSize(digits + unit[:1] + "iB"); err == nil {
			return "write " + size.String()
		}
	}
	return hint(text, "the units are KiB, MiB, GiB and TiB")
}

// hint gives a remedy for what begins as a number does.
func hint(text, remedy string) string {
	if text == "" || text[0] < '0' || text[0] > '9' {
		return ""
	}
	return remedy
}

func setBool(v reflect.Value, text string) (remedy string, ok bool) {
	switch strings.ToLower(text) {
	case "true":
		v.SetBool(true)
		return "", true
	case "false":
		v.SetBool(false)
		return "", true
	case "yes", "on", "y", "1":
		return "write true", false
	case "no", "off", "n", "0":
		return "write false", false
	}
	return "", false
}

// leading says that a number could be meant as octal.
func leading(text string) bool {
	text = strings.TrimLeft(text, "+-")
	return len(text) > 1 && text[0] == '0' && text[1] >= '0' && text[1] <= '9'
}

func setInt(v reflect.Value, text string) (remedy string, ok bool) {
	n, err := strconv.ParseInt(text, 0, v.Type().Bits())
	switch {
	case leading(text):
		return "write it without leading zeros", false
	case err != nil:
		if _, e := strconv.ParseInt(text, 0, 64); e == nil {
			return "it is at most " + strconv.FormatInt(1<<(v.Type().Bits()-1)-1, 10), false
		}
		return "", false
	}
	v.SetInt(n)
	return "", true
}

func setUint(v reflect.Value, text string) (remedy string, ok bool) {
	n, err := strconv.ParseUint(text, 0, v.Type().Bits())
	if leading(text) {
		return "write it without leading zeros", false
	}
	if err != nil {
		return "", false
	}
	v.SetUint(n)
	return "", true
}

// text checks what was set as text.
func (d *decoder) text(n, key *node, f field) {
	switch {
	case f.required && n.text == "":
		d.problem(spot(key, n), CodeMissing, "", "%s is empty", f.name)
	case len(f.enum) > 0 && !slices.Contains(f.enum, n.text):
		remedy := suggest(n.text, f.enum)
		if n.expanded() {
			remedy = "known are " + strings.Join(f.enum, ", ")
		}
		d.problem(n, CodeWrong, remedy, "%s: %q is not known", f.name, n.shown())
	case f.declared && looksSecret(f.name):
		d.clear(n, f)
	default:
		d.userinfo(n, f)
	}
}

// secret warns of a secret in the file. A text that says how to connect is one only where it has a password in it.
func (d *decoder) secret(n *node, f field) {
	if connects.MatchString(n.written) {
		d.userinfo(n, f)
		return
	}
	d.clear(n, f)
}

// connects finds URLs, and the key=value pairs of PostgreSQL.
var connects = regexp.MustCompile(`^[a-z0-9+]+://|\b(?:host|user|dbname)=`)

// clear warns of a secret that stands in the file.
func (d *decoder) clear(n *node, f field) {
	if n.text == "" || n.expanded() {
		return
	}
	p := d.file.at(n, CodeClear, referTo(f.name), "%s stands in clear text", f.name)
	p.Warning = true
	d.problems = append(d.problems, p)
}

// userinfo warns of a password in a URL or in another text that says how to connect.
func (d *decoder) userinfo(n *node, f field) {
	if n.secret || !strings.ContainsAny(n.written, "@=") {
		return
	}
	var at []int
	for _, form := range []string{
		`[a-z0-9+]://(?:\$\{[^}]*\}|[^/@\s:$])*:([^/@\s]+)@`, // of URLs
		`^[^/@\s:]+:([^/@\s]+)@[a-z]+\(`,                     // of MySQL
		`\b(?:password|pwd)=([^\s;&]+)`,                      // of PostgreSQL and others
	} {
		if at = regexp.MustCompile(form).FindStringSubmatchIndex(n.written); at != nil {
			break
		}
	}
	if at == nil || strings.HasPrefix(n.written[at[2]:], "${") {
		return
	}
	before, part := n.written[:at[2]], n.written[at[2]:at[3]]
	p := d.file.inside(n, utf8.RuneCountInString(before), utf8.RuneCountInString(part), CodeClear,
		`write ${PASSWORD} in its place, or give the whole value as "${env:`+variableOf(f.name)+`}"`,
		f.name+": the password stands in clear text")
	p.Warning = true
	d.problems = append(d.problems, p)
}

func referTo(name string) string {
	return `write "${env:` + variableOf(name) + `}", or "${file:/path}"`
}

func variableOf(name string) string {
	name, _, _ = strings.Cut(name, "[")
	return strings.Map(func(c rune) rune {
		if c == '_' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' {
			return c
		}
		return '_'
	}, strings.ToUpper(name))
}

// looksSecret says whether a key is one of those that hold secrets.
func looksSecret(name string) bool {
	name = strings.ToLower(name)
	words := []string{"password", "passwd", "passphrase", "secret", "token", "api_key", "apikey", "access_key", "private_key", "credential"}
	for _, word := range words {
		if strings.HasSuffix(name, word) || strings.HasSuffix(name, word+"s") {
			return true
		}
	}
	return false
}
