package config

import (
	"net/url"
	"path/filepath"
	"slices"
)

// The parts of SARIF 2.1.0 that problems need: what code hosts show beside the lines. See
// https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool       sarifTool     `json:"tool"`
		ColumnKind string        `json:"columnKind"`
		Results    []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name           string      `json:"name"`
		Version        string      `json:"version,omitempty"`
		InformationURI string      `json:"informationUri"`
		Rules          []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID    string     `json:"id"`
		Short *sarifText `json:"shortDescription,omitempty"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		RuleID    string          `json:"ruleId"`
		RuleIndex int             `json:"ruleIndex"`
		Level     string          `json:"level"`
		Message   sarifText       `json:"message"`
		Locations []sarifLocation `json:"locations"`
	}
	sarifLocation struct {
		Physical sarifPhysical `json:"physicalLocation"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   sarifRegion   `json:"region"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn"`
		EndColumn   int `json:"endColumn"` // after the last character
	}
)

// about says what the codes of this package are about; a plugin's say it themselves.
var about = map[string]string{ //nolint:gochecknoglobals // a constant table
	CodeSyntax: "The YAML cannot be read.", CodeUnknown: "An unknown key.", CodeWrong: "A value of a wrong kind, or one that is not allowed.",
	CodeMissing: "Something is missing.", CodeDuplicate: "Something stands twice.", CodeUnset: "A reference names what has no value.",
	CodeReference: "A source, sink or anchor that is not there.", CodeType: "An unknown type of source, sink or step.",
	CodePlugin: "A mistake in the settings of a source, sink or step.", CodeClear: "A secret in clear text.",
	CodeUnused: "A source or sink that no pipeline uses.",
}

// SARIF gives the problems as a SARIF 2.1.0 log, to be written as JSON.
func (p Problems) SARIF(version string) any {
	driver := sarifDriver{Name: "acequia", Version: version, InformationURI: "https://github.com/acequia-io/acequia", Rules: []sarifRule{}}
	run := sarifRun{ColumnKind: "unicodeCodePoints", Results: []sarifResult{}}
	for _, one := range p {
		rule := slices.IndexFunc(driver.Rules, func(r sarifRule) bool { return r.ID == one.Code })
		if rule < 0 {
			rule = len(driver.Rules)
			r := sarifRule{ID: one.Code}
			if text, known := about[one.Code]; known {
				r.Short = &sarifText{text}
			}
			driver.Rules = append(driver.Rules, r)
		}
		result := sarifResult{RuleID: one.Code, RuleIndex: rule, Level: "error", Message: sarifText{one.Message}}
		if one.Warning {
			result.Level = "warning"
		}
		if one.Remedy != "" {
			result.Message.Text += " (" + one.Remedy + ")"
		}
		result.Locations = []sarifLocation{{sarifPhysical{
			sarifArtifact{fileURI(one.File)}, sarifRegion{one.Line, one.Column, one.Column + one.Width},
		}}}
		run.Results = append(run.Results, result)
	}
	run.Tool.Driver = driver
	return sarifLog{Schema: "https://json.schemastore.org/sarif-2.1.0.json", Version: "2.1.0", Runs: []sarifRun{run}}
}

// fileURI is the URI of a file: relative as long as its path is.
func fileURI(path string) string {
	u := url.URL{Path: filepath.ToSlash(filepath.Clean(path))}
	if filepath.IsAbs(path) {
		u.Scheme = "file"
		return u.String()
	}
	return u.EscapedPath()
}
