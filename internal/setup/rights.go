package setup

// Component is a kind of part of a service, which has a policy of its own.
type Component string

// The components.
const (
	Form       Component = "form"
	Queue      Component = "sqs-source"
	Streams    Component = "dynamodb-streams-source"
	Lake       Component = "lake-sink"
	LakeSource Component = "lake-source"
	Compaction Component = "compaction"
	Items      Component = "items-sink"
	ItemsAPI   Component = "items-api"
	Backups    Component = "backups-and-reports"
	Query      Component = "query"
	Tables     Component = "lake-tables"
	Leases     Component = "leases"
	QueueSink  Component = "sqs-sink"
	EventSink  Component = "eventbridge-sink"
	Bus        Component = "bus"
	Setup      Component = "setup" // who makes what the others use
)

// Components lists them.
func Components() []Component {
	return []Component{Form, Queue, Streams, Lake, LakeSource, Compaction, Items, ItemsAPI, Backups, Query, Tables, Leases, QueueSink, EventSink, Bus, Setup}
}

// The names of actions are those of https://docs.aws.amazon.com/service-authorization/latest/reference/. Some calls of the API have none of
// their own: a multipart upload is s3:PutObject, HeadObject s3:GetObject, DeleteMessageBatch sqs:DeleteMessage, and a transaction each of its
// writes.

// form lets a form keep its records and the keys by which it knows one that is sent twice.
func (a Account) form(tables []string) []Statement {
	return []Statement{{
		Sid: "Write", Action: []string{"dynamodb:DescribeTable", "dynamodb:DescribeTimeToLive", "dynamodb:GetItem", "dynamodb:PutItem"}, Resource: a.tables(tables),
	}}
}

func (a Account) tables(names []string) []string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = a.table(name)
	}
	return out
}

// items lets a sink write items: by conditional puts, in bulk where a table is new, and tell apart what it would replace. verify reads them again by
// Scan and GetItem.
func (a Account) items(tables []string) []Statement {
	return []Statement{{
		Sid: "Write", Resource: a.tables(tables),
		Action: []string{
			"dynamodb:BatchWriteItem", "dynamodb:DeleteItem", "dynamodb:DescribeTable", "dynamodb:DescribeTimeToLive", "dynamodb:GetItem", "dynamodb:PutItem",
			"dynamodb:Scan",
		},
	}}
}

// itemsAPI lets /dynamodb/tables and /dynamodb/{table}/items read.
func (a Account) itemsAPI(tables []string) []Statement {
	if len(tables) == 0 {
		return nil
	}
	read := a.tables(tables)
	for _, t := range tables {
		read = append(read, a.table(t)+"/index/*")
	}
	return []Statement{
		{Sid: "List", Action: []string{"dynamodb:ListTables"}, Resource: []string{"*"}},
		{Sid: "Read", Action: []string{"dynamodb:DescribeTable", "dynamodb:GetItem", "dynamodb:Query", "dynamodb:Scan"}, Resource: read},
	}
}

// streams lets a source follow the changes of a table, whose description names its stream: that has a name which is not known before it is there.
func (a Account) streams(table string) []Statement {
	return []Statement{
		{Sid: "Table", Action: []string{"dynamodb:DescribeTable"}, Resource: []string{a.table(table)}},
		{
			Sid: "Read", Action: []string{"dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"},
			Resource: []string{a.table(table) + "/stream/*"},
		},
	}
}

// leases lets processes share positions, leases and jobs in a table.
func (a Account) leases(table string) []Statement {
	return []Statement{{
		Sid: "Share", Resource: []string{a.table(table)},
		Action: []string{"dynamodb:BatchWriteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem"},
	}}
}

// queueRights let a source take messages from a queue, give them back, and follow pointers to bodies that were too large for it.
func queueRights(arn string, payloads *Folder) []Statement {
	out := []Statement{{
		Sid: "Receive", Resource: []string{arn},
		Action: []string{"sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ReceiveMessage"},
	}}
	if payloads != nil {
		out = append(out, Statement{Sid: "Payloads", Resource: []string{payloads.objects()}, Action: []string{"s3:GetObject"}})
	}
	return out
}

func queueSinkRights(arn string, payloads *Folder) []Statement {
	out := []Statement{{Sid: "Send", Resource: []string{arn}, Action: []string{"sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:SendMessage"}}}
	if payloads != nil {
		out = append(out, Statement{Sid: "Payloads", Resource: []string{payloads.objects()}, Action: []string{"s3:PutObject"}})
	}
	return out
}

func eventRights(arn string, payloads *Folder) []Statement {
	out := []Statement{{Sid: "Put", Resource: []string{arn}, Action: []string{"events:DescribeEventBus", "events:PutEvents"}}}
	if payloads != nil {
		out = append(out, Statement{Sid: "Payloads", Resource: []string{payloads.objects()}, Action: []string{"s3:PutObject"}})
	}
	return out
}

// list lets what is below a prefix be listed, and nothing else of the bucket. Without it a missing object is answered 403.
func (f Folder) list() Statement {
	out := Statement{Sid: "List", Resource: []string{f.bucket()}, Action: []string{"s3:ListBucket"}}
	if f.Prefix != "" {
		out.Condition = map[string]map[string][]string{"StringLike": {"s3:prefix": {f.Prefix, f.Prefix + "/*"}}}
	}
	return out
}

// uploads lets what a process that was killed has left be found.
func (f Folder) uploads() Statement {
	return Statement{Sid: "Uploads", Resource: []string{f.bucket()}, Action: []string{"s3:ListBucketMultipartUploads"}}
}

// lake lets a sink stage files as uploads that are not completed, complete them, and compare one that is there already.
func (f Folder) lake() []Statement {
	return []Statement{
		{
			Sid: "Files", Resource: []string{f.objects()},
			Action: []string{"s3:AbortMultipartUpload", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject"},
		},
		f.list(), f.uploads(),
	}
}

func (f Folder) read() []Statement {
	return []Statement{{Sid: "Files", Resource: []string{f.objects()}, Action: []string{"s3:GetObject"}}, f.list()}
}

// compaction lets small files be merged and removed.
func (f Folder) compaction() []Statement {
	return []Statement{
		{
			Sid: "Files", Resource: []string{f.objects()},
			Action: []string{"s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject"},
		},
		f.list(), f.uploads(),
	}
}

// backups lets files be staged, completed, read and listed, and what a process that was killed has left be found; prune removes some.
func (f Folder) backups() []Statement { return f.compaction() }

// reports lets small files be written that were not there.
func (f Folder) reports() []Statement {
	return []Statement{{Sid: "Files", Resource: []string{f.objects()}, Action: []string{"s3:GetObject", "s3:PutObject"}}, f.list()}
}

// key lets what a key of KMS encrypts be written and read, through S3 alone. Parts of an upload are encrypted as they come, so that it takes
// kms:Decrypt to complete it.
func (a Account) key(arn string) Statement {
	region := a.Region
	if region == "" {
		region = UnknownRegion
	}
	return Statement{
		Sid: "Key", Resource: []string{arn}, Action: []string{"kms:Decrypt", "kms:GenerateDataKey"},
		Condition: map[string]map[string][]string{"StringEquals": {"kms:ViaService": {"s3." + region + ".amazonaws.com"}}},
	}
}
