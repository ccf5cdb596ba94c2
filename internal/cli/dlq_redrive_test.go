package cli

import (
	"bytes"
	"testing"

	"github.com/acequia-io/acequia/internal/messaging/messagingtest"
)

// TestRedrive names the task that SQS does.
func TestRedrive(t *testing.T) { //nolint:paralleltest // it sets the environment
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	fake := messagingtest.Start(t, messagingtest.Faults{})
	for want, json := range map[string]bool{"SQS moves the messages of games-dead; task task\n": false, "{\"task\":\"task\",\"moved\":0}\n": true} {
		var out bytes.Buffer
		c := dlqRedriveCmd{Queue: fake.URL("games-dead"), To: fake.URL("games"), Region: "eu-west-1", JSON: json}
		if err := c.Run(t.Context(), terminal{out: &out}); err != nil || compact(out.String()) != compact(want) {
			t.Errorf("got %q, %v", out.String(), err)
		}
	}
}

func compact(text string) string {
	return string(bytes.Join(bytes.Fields([]byte(text)), nil))
}
