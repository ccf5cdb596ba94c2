package block

import (
	"bytes"
	"math"

	"github.com/acequia-io/acequia/record"
)

// Same says whether two slots hold the same.
func Same(f record.Field, a, b *record.Column, i, j int) bool {
	if a.Const {
		i = 0
	}
	if b.Const {
		j = 0
	}
	if a.IsValid(i) != b.IsValid(j) || a.IsAbsent(i) != b.IsAbsent(j) {
		return false
	}
	switch {
	case f.Kind == record.Float32 || f.Kind == record.Float64:
		return math.Float64bits(a.Floats[i]) == math.Float64bits(b.Floats[j])
	case f.Wide():
		return a.Wide[i] == b.Wide[j]
	case f.Kind == record.String || f.Kind == record.Bytes:
		return bytes.Equal(a.Text(i), b.Text(j))
	case f.Kind == record.VersionText:
		return a.Versions.At(i) == b.Versions.At(j)
	case f.Kind == record.List:
		m, n := int(a.Offsets[i]), int(b.Offsets[j])
		k := int(a.Offsets[i+1]) - m
		if int(b.Offsets[j+1])-n != k {
			return false
		}
		for e := range k {
			if !Same(f.Fields[0], &a.Children[0], &b.Children[0], m+e, n+e) {
				return false
			}
		}
		return true
	case f.Kind == record.Struct:
		for k, m := range f.Fields {
			if !Same(m, &a.Children[k], &b.Children[k], i, j) {
				return false
			}
		}
		return true
	}
	return a.Ints[i] == b.Ints[j]
}
