package provision

import (
	"strings"
	"testing"
)

// TestMerged puts our statements into a policy, once, and leaves those of others as they are.
func TestMerged(t *testing.T) {
	t.Parallel()
	ours := secure("s3", true, "arn:aws:s3:::b", "arn:aws:s3:::b/*")
	text, same, err := merged("", ours)
	if err != nil || same || !strings.Contains(text, "TransportIsOfToday") {
		t.Fatal(text, same, err)
	}
	if again, same, err := merged(text, ours); err != nil || !same || again != text {
		t.Error(again, same, err)
	}
	theirs := `{"Version":"2008-10-17","Id":"p","Statement":[{"Sid":"Theirs","Effect":"Allow","Principal":{"AWS":"1"},"Action":["s3:GetObject"],"Resource":"r"},{"Sid":"TransportIsEncrypted","Effect":"Allow"}]}`
	text, same, err = merged(theirs, ours)
	if err != nil || same || !strings.Contains(text, `"2008-10-17"`) || !strings.Contains(text, `"Id":"p"`) || !strings.Contains(text, "Theirs") || strings.Count(text, "TransportIsEncrypted") != 1 || strings.Count(text, `"Allow"`) != 1 {
		t.Error(text, same, err)
	}
	if _, same, err := merged(text, ours); err != nil || !same {
		t.Error(same, err)
	}
}

// TestAlike reads policies as AWS gives them: lists of one as their element, everybody in two ways, in any order. What says something else differs.
func TestAlike(t *testing.T) {
	t.Parallel()
	const one = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["a","b"],"Condition":{"Bool":{"aws:SecureTransport":"false"}}}]}`
	for text, want := range map[string]bool{
		`{"Statement":{"Action":["s3:*"],"Condition":{"Bool":{"aws:SecureTransport":[false]}},"Effect":"Deny","Principal":{"AWS":"*"},"Resource":["b","a"]},"Version":"2012-10-17"}`: true,
		strings.Replace(one, `"Deny"`, `"Allow"`, 1):      false,
		strings.Replace(one, `["a","b"]`, `["a"]`, 1):     false,
		strings.Replace(one, `"false"`, `"true"`, 1):      false,
		strings.Replace(one, `"*"`, `{"Service":"*"}`, 1): false,
		strings.Replace(one, `"Action":"s3:*",`, ``, 1):   false,
		``: false,
	} {
		if alike(one, text) != want {
			t.Errorf("%s: want %t", text, want)
		}
	}
	if !alike("30", "30") || alike("30", "300") || alike("", "true") || alike("arn:a", "arn:b") {
		t.Error("numbers and texts")
	}
}

// TestQueueName reads names, ARNs and URLs, and names dead-letter queues.
func TestQueueName(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][2]string{
		"games": {"games", ""}, "games.fifo": {"games.fifo", ""}, "arn:aws:sqs:eu-west-1:123456789012:games": {"games", "123456789012"},
		"https://sqs.eu-west-1.amazonaws.com/123456789012/games": {"games", "123456789012"}, "http://127.0.0.1:5000/123456789012/games": {"games", ""},
	} {
		if name, account := queueName(text); name != want[0] || account != want[1] {
			t.Errorf("%s: %s %s", text, name, account)
		}
	}
	if deadName("a") != "a-dead" || deadName("a.fifo") != "a-dead.fifo" {
		t.Error(deadName("a.fifo"))
	}
}
