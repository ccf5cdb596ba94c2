// Package setup says what a service needs of AWS: the least rights, as policies of IAM.
package setup

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/acequia-io/acequia/internal/awsconfig"
)

// Document is a policy document of IAM.
// See https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html.
type Document struct {
	Version   string
	Statement []Statement
}

// Statement allows actions on resources.
type Statement struct {
	Sid       string
	Effect    string
	Action    []string
	Resource  []string
	Condition map[string]map[string][]string `json:",omitempty"`
}

// Policy is what one component of a service may do.
type Policy struct {
	Name      string     `json:"name"`      // such as sqs-source-games
	Component Component  `json:"component"` // what kind of part it is for
	For       string     `json:"for"`       // the part, such as source games
	Document  Document   `json:"document"`
	Unscoped  []Unscoped `json:"unscoped,omitempty"` // its actions that are allowed on every resource, with the reason
	Notes     []string   `json:"notes,omitempty"`

	AWS awsconfig.Settings `json:"-"` // where the part finds AWS
}

// Unscoped is an action that AWS does not limit to resources.
type Unscoped struct {
	Action string `json:"action"`
	Why    string `json:"why"`
}

// unscoped gives the reason why an action is allowed on *, for those for which there is one; "": there is none.
// See https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazondynamodb.html.
func unscoped(action string) string {
	if action == "dynamodb:ListTables" {
		return "DynamoDB lists the tables of the account as a whole: this action knows no resource, and a policy that names one denies it"
	}
	return ""
}

const policyVersion = "2012-10-17"

// largest is how many characters a managed policy may have, without spaces.
const largest = 6144

// policy makes the policy of a part. Each statement gets an id that is its own in every document that it may stand in.
func policy(c Component, kind, name string, statements []Statement, notes ...string) Policy {
	out := Policy{Name: string(c), Component: c, For: kind, Document: Document{Version: policyVersion}, Notes: notes}
	if name != "" {
		out.Name += "-" + name
		out.For += " " + name
	}
	for _, s := range statements {
		if len(s.Resource) == 0 {
			continue
		}
		s.Sid = camel(out.Name + "-" + s.Sid)
		s.Effect = "Allow"
		out.Document.Statement = append(out.Document.Statement, s)
		for _, a := range s.Action {
			if why := unscoped(a); why != "" {
				out.Unscoped = append(out.Unscoped, Unscoped{a, why})
			}
		}
	}
	if text, err := json.Marshal(out.Document); err == nil && len(text) > largest {
		out.Notes = append(out.Notes, "it has "+strconv.Itoa(len(text))+" characters, and a managed policy at most "+strconv.Itoa(largest)+": attach it in parts")
	}
	return out
}

// camel makes a statement id of words: letters and digits alone.
func camel(text string) string {
	words := strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	for i, w := range words {
		words[i] = strings.ToUpper(w[:1]) + w[1:]
	}
	return strings.Join(words, "")
}

// Merge makes one document of policies, for a process that does the work of all of them.
func Merge(policies []Policy) Document {
	out := Document{Version: policyVersion, Statement: []Statement{}}
	taken := map[string]int{}
	for _, p := range policies {
		for _, s := range p.Document.Statement {
			if slices.ContainsFunc(out.Statement, func(o Statement) bool { return sameRights(o, s) }) {
				continue
			}
			if taken[s.Sid]++; taken[s.Sid] > 1 {
				s.Sid += "X" + strconv.Itoa(taken[s.Sid])
			}
			out.Statement = append(out.Statement, s)
		}
	}
	return out
}

func sameRights(a, b Statement) bool {
	one, _ := json.Marshal(Statement{Action: a.Action, Resource: a.Resource, Condition: a.Condition}) // of texts: it can always be written
	other, _ := json.Marshal(Statement{Action: b.Action, Resource: b.Resource, Condition: b.Condition})
	return string(one) == string(other)
}
