package itemstore_test

import (
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/record"
)

// Versions are ordered as sequence numbers are, whatever their length.
func TestVersionsOfSequences(t *testing.T) {
	t.Parallel()
	numbers := []string{
		"0", "1", "9", "10", "4294967295", "4294967296", "18446744073709551615", "79228162514264337593543950335", "79228162514264337593543950336", "100000000000000000000000000000000000000",
		"340282366920938463463374607431768211456", "9999999999999999999999999999999999999998", "9999999999999999999999999999999999999999", "1461501637330902918203684832716283019655932542975",
	}
	var before record.Version
	for i, n := range numbers {
		v, err := itemstore.SequenceVersion(n)
		if err != nil || i > 0 && v.Compare(before) <= 0 || i > 0 && v.String() <= before.String() {
			t.Errorf("%s gives %s after %s: %v", n, v, before, err)
		}
		got := new(big.Int).SetUint64(v.Hi)
		got.Or(got.Lsh(got, 64), new(big.Int).SetUint64(v.Lo))
		got.Or(got.Lsh(got, 32), new(big.Int).SetUint64(uint64(v.Index)))
		if got.String() != n {
			t.Errorf("%s is kept as %s", n, got)
		}
		if padded, err := itemstore.SequenceVersion(fmt.Sprintf("%048s", n)); err != nil || len(n) < 40 && padded != v {
			t.Errorf("%s with zeros: %s %v", n, padded, err)
		}
		before = v
	}
	for _, bad := range []string{"", "-1", "1a", "1461501637330902918203684832716283019655932542976", strings.Repeat("9", 60)} {
		if v, err := itemstore.SequenceVersion(bad); err == nil {
			t.Errorf("%q gives %s", bad, v)
		}
	}
}
