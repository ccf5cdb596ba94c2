package deploy_test

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
)

// TestInventory makes the inventory of a program, and refuses to make one of nothing.
func TestInventory(t *testing.T) {
	t.Parallel()
	const said = "bin/acequia: go1.26.8\n\tpath\tgithub.com/acequia-io/acequia/cmd/acequia\n\tmod\tgithub.com/acequia-io/acequia\t(devel)\t\n" +
		"\tdep\tone.example/a\tv1.2.3\th1:abc=\n\tdep\tone.example/b\tv0.1.0\n\t=>\ttwo.example/b\tv0.2.0\th1:def=\n\tbuild\tCGO_ENABLED=1\n\tbuild\tGOARCH=amd64\n\tbuild\tGOOS=linux\n"
	out, err := awk(t, said)
	if err != nil {
		t.Fatal(err)
	}
	var bom struct {
		BomFormat, SpecVersion string
		Metadata               struct {
			Component  struct{ Name, Version, Purl string }
			Properties []struct{ Name, Value string }
		}
		Components []struct {
			Name, Version, Purl string
			Properties          []struct{ Value string }
		}
	}
	if err := json.Unmarshal(out, &bom); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if bom.BomFormat != "CycloneDX" || bom.Metadata.Component.Purl != "pkg:golang/github.com/acequia-io/acequia@v1.0.0" || len(bom.Components) != 2 ||
		bom.Components[0].Purl != "pkg:golang/one.example/a@v1.2.3" || bom.Components[1].Name != "two.example/b" || bom.Components[1].Properties[0].Value != "h1:def=" ||
		bom.Metadata.Properties[1].Value != "linux/amd64" {
		t.Errorf("%+v", bom)
	}
	if out, err := awk(t, "nothing\n"); err == nil {
		t.Errorf("of nothing: %s", out)
	}
}

func awk(t *testing.T, said string) ([]byte, error) {
	t.Helper()
	c := exec.CommandContext(t.Context(), "awk", "-v", "version=v1.0.0", "-f", "../scripts/sbom.awk")
	c.Stdin = strings.NewReader(said)
	var wrong bytes.Buffer
	c.Stderr = &wrong
	return c.Output()
}
