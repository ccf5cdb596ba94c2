// Package dynamologtest makes tables for the logs of tests.
package dynamologtest

import (
	"crypto/rand"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/dynamolog"
)

// Table makes one, as acequia setup apply does, and gives its name.
func Table(t *testing.T, settings awsconfig.Settings) string {
	t.Helper()
	c, err := awsconfig.Load(t.Context(), settings)
	if err != nil {
		t.Fatal(err)
	}
	defer awsconfig.Connections(&c, 1, 0)()
	name := "state-" + rand.Text()
	_, err = dynamodb.NewFromConfig(c).CreateTable(t.Context(), dynamolog.Design(name))
	if err != nil {
		t.Fatal(err)
	}
	return name
}
