package environment

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/acequia-io/acequia/fault"
)

// Backend is where items, lake and backups are kept.
type Backend string

// The backends.
const (
	Embedded Backend = "embedded"
	AWS      Backend = "aws"
)

// Backend says which is meant: AWS when S3_BUCKET_NAME or an AWS_* variable is set, unless ACEQUIA_BACKEND says otherwise. AWS that
// cannot be used is an error (ACQ-ENV-009: no credentials; ACQ-CFG-014: no bucket), never the embedded one instead.
func (v Variables) Backend() (Backend, error) {
	reason := v.meansAWS()
	switch said := v["ACEQUIA_BACKEND"]; Backend(said) {
	case Embedded:
		return Embedded, nil
	case AWS:
		reason = "ACEQUIA_BACKEND=aws"
	case "":
	default:
		return "", &fault.Error{Code: "ACQ-CFG-014", Place: "ACEQUIA_BACKEND", Err: fmt.Errorf("%q is no backend", said), Remedy: "set it to embedded or aws, or to nothing"}
	}
	if reason == "" {
		return Embedded, nil
	}
	if !v.credentials() && !onEC2(os.DirFS("/sys")) {
		return "", &fault.Error{
			Code: "ACQ-ENV-009", Place: reason, Err: errors.New("Credenciales de AWS no encontradas (no AWS credentials were found)"), //nolint:staticcheck // the words that its users know
			Remedy: "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; to keep everything on this machine: ACEQUIA_BACKEND=embedded",
		}
	}
	if !v.set("S3_BUCKET_NAME") {
		return "", &fault.Error{
			Code: "ACQ-CFG-014", Place: reason, Err: errors.New("AWS is meant, and S3_BUCKET_NAME is not set"),
			Remedy: "name the bucket; to keep everything on this machine: ACEQUIA_BACKEND=embedded",
		}
	}
	return AWS, nil
}

// meansAWS names the variable by which AWS is meant; "": it is not.
func (v Variables) meansAWS() string {
	for _, name := range slices.Sorted(maps.Keys(v)) {
		if v.set(name) && (name == "S3_BUCKET_NAME" || strings.HasPrefix(name, "AWS_")) {
			return name
		}
	}
	return ""
}

// onEC2 says whether this is an instance of EC2, whose metadata give the credentials of its role:
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/identify_ec2_instances.html.
func onEC2(sys fs.FS) bool {
	vendor, _ := fs.ReadFile(sys, "class/dmi/id/sys_vendor")
	uuid, _ := fs.ReadFile(sys, "hypervisor/uuid")
	return strings.TrimSpace(string(vendor)) == "Amazon EC2" || strings.HasPrefix(strings.ToLower(string(uuid)), "ec2")
}

// credentials says whether there is any place of the SDK's chain from which they may come, but for the metadata of an EC2 instance.
// See https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html.
func (v Variables) credentials() bool {
	if slices.ContainsFunc([]string{
		"AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
	}, v.set) {
		return true
	}
	if v.set("AWS_ACCESS_KEY_ID") && v.set("AWS_SECRET_ACCESS_KEY") {
		return true
	}
	home := v["HOME"]
	for variable, name := range map[string]string{"AWS_SHARED_CREDENTIALS_FILE": "credentials", "AWS_CONFIG_FILE": "config"} {
		if info, err := os.Stat(v.or(variable, filepath.Join(home, ".aws", name))); err == nil && info.Mode().IsRegular() {
			return true
		}
	}
	return false
}
