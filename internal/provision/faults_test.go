package provision_test

import (
	"bytes"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/provision"
)

// TestMissingRights refuses each call that changes anything, and some that look: the error names the resource and the right, and the rest is made.
func TestMissingRights(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ call, place, right, code string }{
		{"s3:PUT", "bucket NAME-lake", "s3:CreateBucket", "AccessDenied"},
		{"s3:PUT?policy", "bucket NAME-lake", "s3:PutBucketPolicy", "AccessDenied"},
		{"s3:PUT?tagging", "bucket NAME-lake", "s3:PutBucketTagging", "AccessDenied"},
		{"s3:PUT?publicAccessBlock", "bucket NAME-lake", "s3:PutBucketPublicAccessBlock", "AccessDenied"},
		{"s3:PUT?lifecycle", "bucket NAME-lake", "s3:PutLifecycleConfiguration", "AccessDenied"},
		{"s3:PUT?versioning", "bucket NAME-lake", "s3:PutBucketVersioning", "AccessDenied"},
		{"s3:GET?encryption", "bucket NAME-lake", "s3:GetEncryptionConfiguration", "AccessDenied"},
		{"dynamodb:DescribeTable", "table NAME-games", "dynamodb:DescribeTable", "AccessDeniedException"},
		{"dynamodb:CreateTable", "table NAME-games", "dynamodb:CreateTable", "AccessDeniedException"},
		{"dynamodb:UpdateTimeToLive", "table NAME-games", "dynamodb:UpdateTimeToLive", "AccessDeniedException"},
		{"dynamodb:UpdateContinuousBackups", "table NAME-games", "dynamodb:UpdateContinuousBackups", "AccessDeniedException"},
		{"dynamodb:ListTagsOfResource", "table NAME-games", "dynamodb:ListTagsOfResource", "AccessDeniedException"},
		{"sqs:CreateQueue", "queue NAME-changes-dead", "sqs:CreateQueue", "AccessDenied"},
		{"sqs:GetQueueUrl", "queue NAME-changes-dead", "sqs:GetQueueUrl", "AccessDenied"},
		{"events:CreateEventBus", "bus NAME-events", "events:CreateEventBus", "AccessDeniedException"},
		{"events:PutRule", "rule NAME-changes", "events:PutRule", "AccessDeniedException"},
		{"events:PutTargets", "rule NAME-changes", "events:PutTargets", "AccessDeniedException"},
		{"iam:CreateRole", "role NAME-changes-pipe-eu-west-1", "iam:CreateRole", "AccessDenied"},
		{"iam:PutRolePolicy", "role NAME-changes-pipe-eu-west-1", "iam:PutRolePolicy", "AccessDenied"},
		{"pipes:POST", "pipe NAME-changes", "iam:PassRole", "AccessDeniedException"},
	} {
		t.Run(c.call, func(t *testing.T) {
			t.Parallel()
			w := watch(t)
			name := "right-" + strings.ToLower(strings.NewReplacer(":", "-", "?", "-").Replace(c.call))
			needs := everything(t, w, name)
			w.on(c.call, c.code, 0)
			steps := apply(t, w, needs, provision.Options{TLS: true})
			first := ""
			for _, s := range steps {
				err := s.Err()
				switch {
				case err == nil:
				case fault.Code(err) == "ACQ-SETUP-004" && strings.Contains(err.Error(), "cannot be made without"), strings.Contains(err.Error(), "has no stream"):
				case fault.Code(err) != "ACQ-AWS-005" || s.Error.Code != "ACQ-AWS-005" || !strings.Contains(s.Error.Remedy, "--component setup"):
					t.Errorf("%s %s: %v", s.Kind, s.Name, err)
				case first == "":
					first = s.Error.Place + " " + s.Error.Reason
				}
			}
			if place := strings.ReplaceAll(c.place, "NAME", name); !strings.HasPrefix(first, place+" ") || !strings.Contains(first, c.right) {
				t.Errorf("%q says not %s and %s", first, place, c.right)
			}
			if provision.Count(steps, provision.Create) == 0 {
				t.Error("nothing else was made")
			}
			w.off(c.call)
			for _, s := range apply(t, w, needs, provision.Options{TLS: true, Adopt: c.call == "s3:PUT?tagging"}) {
				if s.Err() != nil {
					t.Errorf("then %s %s: %v", s.Kind, s.Name, s.Err())
				}
			}
			sound(t, plan(t, w, needs, provision.Options{TLS: true}), provision.Same)
		})
	}
}

// TestBucketOfSomebodyElse tells that a name is taken.
func TestBucketOfSomebodyElse(t *testing.T) {
	t.Parallel()
	for call, code := range map[string]string{"s3:HEAD": "AccessDenied", "s3:PUT": "BucketAlreadyExists"} {
		w := watch(t)
		w.on(call, code, 0)
		needs := provision.Needs{Project: "taken", Buckets: []provision.Bucket{{Name: "taken-lake", At: w.settings}}}
		steps := apply(t, w, needs, provision.Options{})
		if steps[0].Error == nil || steps[0].Error.Code != "ACQ-SETUP-001" || steps[0].Error.Place != "bucket taken-lake" || !strings.Contains(steps[0].Error.Remedy, "another name") {
			t.Errorf("%s: %+v", call, steps[0].Error)
		}
	}
}

// TestBucketElsewhere tells that a bucket is in another region.
func TestBucketElsewhere(t *testing.T) {
	t.Parallel()
	w := watch(t)
	w.on("s3:HEAD", "MovedPermanently", 0)
	steps := plan(t, w, provision.Needs{Project: "moved", Buckets: []provision.Bucket{{Name: "moved-lake", At: w.settings}}}, provision.Options{})
	if fault.Code(steps[0].Err()) != "ACQ-AWS-007" || !strings.Contains(steps[0].Error.Reason, "eu-west-1") {
		t.Error(steps[0].Err())
	}
}

// TestWaits waits for a table that is being made, tells it, and gives up after its patience; the next time it goes on.
func TestWaits(t *testing.T) {
	t.Parallel()
	w := watch(t)
	needs := everything(t, w, "slow")
	needs.Routes, needs.Queues, needs.Buckets, needs.Buses = nil, nil, nil, nil
	creating := func(until int) {
		w.answers("dynamodb:DescribeTable", func(answer []byte, n int) []byte {
			if until > 0 && n > until {
				return answer
			}
			return bytes.ReplaceAll(answer, []byte(`"TableStatus": "ACTIVE"`), []byte(`"TableStatus": "CREATING"`))
		})
	}
	creating(0)
	steps := apply(t, w, needs, provision.Options{Patience: 20 * time.Millisecond})
	for _, s := range steps {
		if fault.Code(s.Err()) != "ACQ-SETUP-002" || fault.Of(s.Err()) != fault.Retryable || !strings.Contains(s.Error.Reason, "CREATING") {
			t.Errorf("%s: %v", s.Name, s.Err())
		}
	}
	creating(12)
	var told atomic.Int64
	steps = apply(t, w, needs, provision.Options{Tell: func(p provision.Progress) {
		if p.Kind == provision.KindTable && p.State == "CREATING" {
			told.Add(1)
		}
	}})
	sound(t, steps, provision.Change) // TTL and recovery, which were not reached the first time
	if told.Load() == 0 {
		t.Error("nobody was told what is waited for")
	}
	sound(t, plan(t, w, needs, provision.Options{}), provision.Same)
}

// TestRoleSpreads repeats what is refused while a role is not known everywhere, and tells what a pipe that cannot run says.
func TestRoleSpreads(t *testing.T) {
	t.Parallel()
	w := watch(t)
	needs := everything(t, w, "spread")
	w.on("pipes:POST", "ValidationException", 3)
	sound(t, apply(t, w, needs, provision.Options{}), provision.Create)

	needs = everything(t, w, "lost")
	w.on("pipes:POST", "ValidationException", 0)
	steps := apply(t, w, needs, provision.Options{})
	if provision.Failed(steps) != 2 || !strings.Contains(steps[len(steps)-1].Error.Reason, "ValidationException") {
		t.Error(told(steps))
	}
	w.off("pipes:POST")
	w.answers("pipes:GET", func(answer []byte, _ int) []byte {
		return bytes.Replace(answer, []byte(`"CurrentState": "`), []byte(`"StateReason": "the role may not", "CurrentState": "CREATE_FAILED", "was": "`), 1)
	})
	steps = apply(t, w, needs, provision.Options{})
	if e := steps[len(steps)-1].Error; provision.Failed(steps) != 2 || e.Code != "ACQ-SETUP-006" || !strings.Contains(e.Reason, "the role may not") {
		t.Error(told(steps), e)
	}
}

// TestLostAnswers has each call that makes or deletes something answered by a failure although it was done: the SDK asks again, and is told that it is
// there, or gone.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	w := watch(t)
	needs := everything(t, w, "answers")
	w.lose()
	sound(t, apply(t, w, needs, provision.Options{}), provision.Create)
	sound(t, plan(t, w, needs, provision.Options{}), provision.Same)
	steps, err := site(t, w, needs, provision.Options{}).Destroy(t.Context(), true, func(provision.Step) {})
	if err != nil {
		t.Fatal(err)
	}
	sound(t, steps, provision.Delete)
	if left, err := site(t, w, needs, provision.Options{}).Doomed(t.Context(), true); err != nil || len(left) > 0 {
		t.Error(told(left), err)
	}
}

// TestSomebodyWasFaster leaves alone what another made between the look and the call.
func TestSomebodyWasFaster(t *testing.T) {
	t.Parallel()
	w, s := watch(t), direct(t)
	needs := provision.Needs{Project: "slower", Buses: []provision.Bus{{Name: "slower-bus", At: w.settings}}, Queues: []provision.Queue{{Name: "slower-queue", At: w.settings}}}
	if _, err := s.events.CreateEventBus(t.Context(), &eventbridge.CreateEventBusInput{Name: aws.String("slower-bus")}); err != nil {
		t.Fatal(err)
	}
	w.on("events:DescribeEventBus", "ResourceNotFoundException", 1)
	steps := apply(t, w, needs, provision.Options{})
	if fault.Code(steps[1].Err()) != "ACQ-SETUP-009" || provision.Failed(steps) != 1 || slices.Contains(w.written(), "events:TagResource") {
		t.Error(told(steps), steps[1].Err())
	}
}

// TestPartlyRefused reads answers that are 200 though they failed.
func TestPartlyRefused(t *testing.T) {
	t.Parallel()
	w := watch(t)
	needs := everything(t, w, "partly")
	w.answers("events:PutTargets", func([]byte, int) []byte {
		return []byte(`{"FailedEntryCount": 1, "FailedEntries": [{"TargetId": "queue", "ErrorCode": "ConcurrentModificationException", "ErrorMessage": "again"}]}`)
	})
	steps := apply(t, w, needs, provision.Options{})
	if provision.Failed(steps) != 1 || !strings.Contains(strings.Join(told(steps), "\n"), "rule changes create ACQ-SETUP-006") {
		t.Error(told(steps))
	}
	w.off("events:PutTargets")
	s := direct(t)
	put(t, s, "partly-lake", "kept")
	w.answers("s3:POST?delete", func([]byte, int) []byte {
		return []byte(`<DeleteResult><Error><Key>kept</Key><Code>AccessDenied</Code><Message>no</Message></Error></DeleteResult>`)
	})
	needs = provision.Needs{Project: "partly", Buckets: needs.Buckets[:1]}
	steps, err := site(t, w, needs, provision.Options{}).Destroy(t.Context(), true, func(provision.Step) {})
	if err != nil || len(steps) != 1 || steps[0].Error == nil || steps[0].Error.Code != "ACQ-SETUP-006" || !strings.Contains(steps[0].Error.Reason, "kept") {
		t.Errorf("%+v %v", steps, err)
	}
}

// TestPolicyThatCannotBeRead is left alone.
func TestPolicyThatCannotBeRead(t *testing.T) {
	t.Parallel()
	w := watch(t)
	needs := provision.Needs{Project: "unread", Buckets: []provision.Bucket{{Name: "unread-lake", At: w.settings}}}
	sound(t, apply(t, w, needs, provision.Options{TLS: true}), provision.Create)
	w.answers("s3:GET?policy", func([]byte, int) []byte { return []byte("no JSON") })
	w.written()
	steps := apply(t, w, needs, provision.Options{TLS: true})
	if fault.Code(steps[0].Err()) != "ACQ-SETUP-003" || len(w.written()) > 0 {
		t.Errorf("%v", steps[0].Err())
	}
}

// TestOpen says that AWS cannot be reached, and that the name of a role is too long.
func TestOpen(t *testing.T) {
	t.Parallel()
	w := watch(t)
	needs := everything(t, w, "opened")
	if _, err := provision.Open(t.Context(), provision.Needs{}, provision.Options{At: awsconfig.Settings{Region: "eu-west-1", Endpoint: "http://127.0.0.1:1"}}); fault.Code(err) != "ACQ-AWS-009" {
		t.Error(err)
	}
	usual := provision.Needs{Project: "usual", Buses: []provision.Bus{{Name: "usual-bus"}}} // where it is asked for, it says not
	sound(t, apply(t, w, usual, provision.Options{}), provision.Create)
	if !slices.Contains(w.written(), "events:CreateEventBus") {
		t.Error("what names no place was not made in the usual one")
	}
	needs.Routes[0].Name = strings.Repeat("x", 60)
	if _, err := provision.Open(t.Context(), needs, provision.Options{At: w.settings}); fault.Code(err) != "ACQ-SETUP-008" {
		t.Error(err)
	}
}
