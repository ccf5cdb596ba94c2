package backup

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"filippo.io/age"

	"github.com/acequia-io/acequia/fault"
)

// Keys gives who can read new backups, and the keys that open old ones, of identities and public keys as age writes them. An error never
// shows a key.
func Keys(key string, public []string) (to []age.Recipient, with []age.Identity, err error) {
	if strings.TrimSpace(key) != "" {
		if with, err = age.ParseIdentities(strings.NewReader(key)); err != nil {
			return nil, nil, &fault.Error{
				Code: codeKey, Place: "backup.encrypt.key", Err: errors.New("it is no age identity, which begins with AGE-SECRET-KEY-1"),
				Remedy: "make one: acequia backup key FILE, and write key: \"${file:FILE}\"",
			}
		}
	}
	for _, identity := range with {
		switch k := identity.(type) {
		case *age.X25519Identity:
			to = append(to, k.Recipient())
		case *age.HybridIdentity:
			to = append(to, k.Recipient())
		}
	}
	for _, text := range public {
		more, err := age.ParseRecipients(strings.NewReader(text))
		if err != nil {
			return nil, nil, &fault.Error{
				Code: codeKey, Place: "backup.encrypt.recipients", Err: fmt.Errorf("%q is no public key of age", text), Remedy: "write one as acequia backup key shows it: age1...",
			}
		}
		to = append(to, more...)
	}
	return to, with, nil
}

// NewKey makes a key and writes it into a new file that its owner alone can read; it gives the public key.
func NewKey(file string) (public string, err error) {
	key, err := age.GenerateX25519Identity()
	if err != nil {
		return "", fmt.Errorf("make a key: %w", err)
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the user names it
	if err == nil {
		_, err = fmt.Fprintf(f, "# public key: %s\n%s\n", key.Recipient(), key)
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err != nil {
		return "", &fault.Error{Code: codeKey, Place: file, Err: err, Remedy: "name a new file in a folder that can be written"}
	}
	return key.Recipient().String(), nil
}
