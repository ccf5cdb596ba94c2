package provision

import (
	"slices"

	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/itemstore"
)

// Needs is what a project needs of AWS.
type Needs struct {
	Project string // its name: the value of the tag
	Buckets []Bucket
	Tables  []Table
	States  []State
	Queues  []Queue
	Buses   []Bus
	Routes  []Route
	Notes   []string // what is needed and not made, for people
}

// Empty says that nothing is needed.
func (n Needs) Empty() bool {
	return len(n.Buckets)+len(n.Tables)+len(n.States)+len(n.Queues)+len(n.Buses)+len(n.Routes) == 0
}

// Bucket is a bucket of S3.
type Bucket struct {
	Name     string
	At       awsconfig.Settings
	Key      string // of KMS, by which it encrypts: an ARN, or kms for the account's; "": keys of S3
	Owner    string // the account that it has to belong to; "": that of who asks
	Versions bool   // what is replaced or deleted is kept for a month
	Expire   int    // days after which objects go; 0: never
}

// Table is a table of DynamoDB for items.
type Table struct {
	itemstore.Table // without a schema it is somebody else's, and only its stream is needed
	At              awsconfig.Settings
}

// State is a table of DynamoDB for the state that processes share.
type State struct {
	Name string
	At   awsconfig.Settings
}

// Queue is a queue of SQS: its name, URL or ARN. It gets a dead-letter queue.
type Queue struct {
	Name string
	At   awsconfig.Settings
}

// Bus is a bus of EventBridge: its name or ARN.
type Bus struct {
	Name string
	At   awsconfig.Settings
}

// Route carries the changes of a table into a queue: a pipe to a bus with a rule, or to a FIFO queue itself.
type Route struct {
	Name  string // begins the names of what it is made of
	Table Table
	Queue Queue
}

// place is where the first of the needs is that says so: there it is asked who this is.
func (n Needs) place() awsconfig.Settings {
	var all []awsconfig.Settings
	for _, b := range n.Buckets {
		all = append(all, b.At)
	}
	for _, t := range n.Tables {
		all = append(all, t.At)
	}
	for _, s := range n.States {
		all = append(all, s.At)
	}
	for _, q := range n.Queues {
		all = append(all, q.At)
	}
	for _, b := range n.Buses {
		all = append(all, b.At)
	}
	if i := slices.IndexFunc(all, func(a awsconfig.Settings) bool { return a.Region != "" }); i >= 0 {
		return all[i]
	}
	return awsconfig.Settings{}
}
