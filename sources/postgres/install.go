package postgres

// The triggers of the queue. Those that are called before a row is written are called in the order of their names, and so are those
// after: ours come last.
const (
	queueTrigger  = "zzz_acequia_queue" // for each row
	queueInsert   = "zzz_acequia_queue_insert"
	queueUpdate   = "zzz_acequia_queue_update"
	queueDelete   = "zzz_acequia_queue_delete"
	queueTruncate = "zzz_acequia_queue_truncate"
)
