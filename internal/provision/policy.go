package provision

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/acequia-io/acequia/fault"
)

// statement is one of a policy.
type statement map[string]any

// policyVersion is that of all policies: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_version.html.
const policyVersion = "2012-10-17"

// policyText is a policy as JSON has it.
type policyText struct {
	Version   string
	ID        string `json:"Id,omitempty"`
	Statement []statement
}

func (p policyText) String() string {
	text, _ := json.Marshal(p) // of what JSON has: it can always be written
	return string(text)
}

// document writes statements as a policy.
func document(all ...statement) string {
	return policyText{Version: policyVersion, Statement: all}.String()
}

// merged gives a policy with our statements in it, which are known by their Sid; those of others stay. same says that it has them already.
func merged(current string, ours []statement) (text string, same bool, err error) {
	was := policyText{Version: policyVersion}
	if current != "" {
		if err := json.Unmarshal([]byte(current), &was); err != nil {
			return "", false, fmt.Errorf("read the policy: %w", err)
		}
	}
	same = true
	for _, s := range ours {
		i := slices.IndexFunc(was.Statement, func(o statement) bool { return o["Sid"] == s["Sid"] })
		switch {
		case i < 0:
			was.Statement, same = append(was.Statement, s), false
		case !alike(was.Statement[i], s):
			was.Statement[i], same = s, false
		}
	}
	return was.String(), same, nil
}

// unreadable says that a policy was written that nobody can add to.
func unreadable(err error, a about) error {
	return &fault.Error{Code: "ACQ-SETUP-003", Place: a.id(), Err: err, Remedy: "look at it by other means: what is not a policy is left as it is"}
}

// alike compares what JSON texts or values say in policies: AWS gives lists of one as their element, and in an order of its own.
func alike(a, b any) bool { return reflect.DeepEqual(normal("", plain(a)), normal("", plain(b))) }

// plain is a value as JSON reads it.
func plain(v any) any {
	text, isText := v.(string)
	if !isText {
		raw, _ := json.Marshal(v) // of texts, lists and maps
		text = string(raw)
	}
	var out any
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		return text
	}
	return out
}

func normal(key string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		if everyone, ok := v["AWS"]; ok && key == "Principal" && len(v) == 1 && everyone == "*" {
			return "*"
		}
		out := map[string]any{}
		for k, inner := range v {
			out[k] = normal(k, inner)
		}
		return out
	case []any:
		if len(v) == 1 {
			return normal(key, v[0])
		}
		out := make([]any, len(v))
		for i := range v {
			out[i] = normal(key, v[i])
		}
		slices.SortFunc(out, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		return out
	case bool, float64:
		return fmt.Sprint(v)
	}
	return v
}

// secure are the statements that let nobody ask without TLS, of 1.2 where the service can tell.
func secure(service string, version bool, resources ...string) []statement {
	deny := func(sid string, condition map[string]any) statement {
		return statement{"Sid": sid, "Effect": "Deny", "Principal": "*", "Action": service + ":*", "Resource": resources, "Condition": condition}
	}
	out := []statement{deny("TransportIsEncrypted", map[string]any{"Bool": map[string]any{"aws:SecureTransport": "false"}})}
	if version {
		out = append(out, deny("TransportIsOfToday", map[string]any{"NumericLessThan": map[string]any{"s3:TlsVersion": "1.2"}}))
	}
	return out
}
