package setup

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// What stands in an ARN where it is not known.
const (
	UnknownAccount = "ACCOUNT_ID"
	UnknownRegion  = "REGION"
)

// Account is where resources are.
type Account struct {
	ID     string // 12 digits; "": not known
	Region string // of those that name none; "": not known
}

// Check says whether it may be one.
func (a Account) Check() error {
	var id, region error
	if a.ID != "" && !matches(`^[0-9]{12}$`, a.ID) {
		id = fmt.Errorf("%q is no account of AWS: want its 12 digits", a.ID)
	}
	if a.Region != "" && !isRegion(a.Region) {
		region = fmt.Errorf("%q is no region of AWS: want one such as eu-west-1", a.Region)
	}
	return errors.Join(id, region)
}

func isRegion(text string) bool { return matches(`^[a-z]{2}(-[a-z]+)+-[0-9]+$`, text) }

func matches(pattern, text string) bool {
	ok, err := regexp.MatchString(pattern, text)
	return ok && err == nil
}

// partition is that of the regions which are not of China or of the government of the United States.
const partition = "aws"

// in gives the account, with the region of a part that names one.
func (a Account) in(region string) Account {
	if region != "" {
		a.Region = region
	}
	return a
}

func (a Account) arn(service, resource string) string {
	id, region := a.ID, a.Region
	if id == "" {
		id = UnknownAccount
	}
	if region == "" {
		region = UnknownRegion
	}
	return "arn:" + partition + ":" + service + ":" + region + ":" + id + ":" + resource
}

func (a Account) table(name string) string { return a.arn("dynamodb", "table/"+name) }

// Folder is a place in a bucket.
type Folder struct{ Bucket, Prefix string } // the prefix has no slash at its ends; "": the whole bucket

func (f Folder) bucket() string { return "arn:" + partition + ":s3:::" + f.Bucket }

func (f Folder) objects() string {
	if f.Prefix == "" {
		return f.bucket() + "/*"
	}
	return f.bucket() + "/" + f.Prefix + "/*"
}

// ParseFolder reads s3://bucket/prefix; ok is false where the URL is of another scheme.
func ParseFolder(text string) (f Folder, ok bool, err error) {
	rest, ok := strings.CutPrefix(text, "s3://")
	if !ok {
		return f, false, nil
	}
	f.Bucket, f.Prefix, _ = strings.Cut(rest, "/")
	f.Prefix = strings.Trim(f.Prefix, "/")
	return f, true, f.check()
}

// check refuses what is no bucket, and prefixes in which IAM reads more than the characters themselves.
// See https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html.
func (f Folder) check() error {
	if !matches(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`, f.Bucket) {
		return fmt.Errorf("%q is no name of a bucket", f.Bucket)
	}
	return literal(f.Prefix)
}

// literal refuses the characters that stand for others in a policy.
func literal(text string) error {
	if strings.ContainsAny(text, "*?$") {
		return fmt.Errorf("%q cannot be told in a policy: *, ? and $ have a meaning there", text)
	}
	return nil
}

// tableName checks the name of a table of DynamoDB.
func tableName(name string) error {
	if !matches(`^[a-zA-Z0-9_.-]{3,255}$`, name) {
		return fmt.Errorf("%q is no name of a table of DynamoDB: want 3 to 255 letters, digits, _, - and dots", name)
	}
	return nil
}

// queueARN makes the ARN of a queue that is named, or given by its URL, which says account and region too.
// See https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-queue-message-identifiers.html.
func (a Account) queueARN(queue string) (string, error) {
	if strings.HasPrefix(queue, "arn:") {
		return queue, arnOf(queue, "sqs")
	}
	name := queue
	if strings.Contains(queue, "://") {
		u, err := url.Parse(queue)
		if err != nil {
			return "", errors.New("is no URL of a queue")
		}
		parts := strings.Split(strings.Trim(u.Path, "/"), "/")
		name = parts[len(parts)-1]
		if len(parts) > 1 && matches(`^[0-9]{12}$`, parts[len(parts)-2]) && strings.HasSuffix(u.Hostname(), ".amazonaws.com") {
			a.ID = parts[len(parts)-2]
		}
		if host := strings.Split(u.Hostname(), "."); len(host) == 4 && host[0] == "sqs" && isRegion(host[1]) {
			a.Region = host[1]
		}
	}
	if !matches(`^[a-zA-Z0-9_-]{1,75}(\.fifo|[a-zA-Z0-9_-]{0,5})$`, name) {
		return "", fmt.Errorf("%q is no name of a queue", name)
	}
	return a.arn("sqs", name), nil
}

// arnOf says whether a text is the ARN of one resource of a service.
func arnOf(text, service string) error {
	if !matches(`^arn:`+partition+`:`+service+`:[a-z0-9-]+:[0-9]{12}:[^*?$]+$`, text) {
		return fmt.Errorf("%q is no ARN of %s", text, service)
	}
	return nil
}

// busARN makes the ARN of an event bus.
func (a Account) busARN(bus string) (string, error) {
	if strings.HasPrefix(bus, "arn:") {
		return bus, arnOf(bus, "events")
	}
	if !matches(`^[/.\-_A-Za-z0-9]{1,256}$`, bus) {
		return "", fmt.Errorf("%q is no name of an event bus", bus)
	}
	return a.arn("events", "event-bus/"+bus), nil
}
