package setup_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/internal/servertest"
	"github.com/acequia-io/acequia/internal/setup"
)

// TestActionsAreKnown has cfn-lint, which knows the actions of IAM, read the policies of every component. One that is none has to be found.
func TestActionsAreKnown(t *testing.T) {
	t.Parallel()
	program, err := servertest.Cached("cfn-lint", "cfn-lint/bin/cfn-lint")
	if err != nil {
		t.Fatal(err)
	}
	policies, _ := setup.Policies(parsed(t, all), options())
	policies = append(policies, setup.Making(parsed(t, all), options()))
	resources := map[string]any{}
	for i, p := range policies {
		resources[fmt.Sprint("Policy", i)] = map[string]any{"Type": "AWS::IAM::ManagedPolicy", "Properties": map[string]any{"PolicyDocument": p.Document}}
	}
	wrong := setup.Statement{Sid: "Wrong", Effect: "Allow", Action: []string{"s3:HeadObject"}, Resource: []string{"*"}}
	resources["Wrong"] = map[string]any{"Type": "AWS::IAM::ManagedPolicy", "Properties": map[string]any{
		"PolicyDocument": setup.Document{Version: "2012-10-17", Statement: []setup.Statement{wrong}},
	}}
	found := linted(t, program, resources)
	if len(found) != 1 || !strings.Contains(found[0], "W3037:'headobject' is not one of") {
		t.Errorf("want what is wrong with s3:HeadObject alone, found %q", found)
	}
}

// linted gives what cfn-lint finds.
func linted(t *testing.T, program string, resources map[string]any) []string {
	t.Helper()
	template, err := json.Marshal(map[string]any{"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "policies.json")
	if err := os.WriteFile(file, template, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), program, "--format", "parseable", file).CombinedOutput()
	if err != nil && len(out) == 0 {
		t.Fatal(err)
	}
	return strings.FieldsFunc(string(out), func(r rune) bool { return r == '\n' })
}
