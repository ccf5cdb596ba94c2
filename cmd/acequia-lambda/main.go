// Command acequia-lambda runs the pipeline of a configuration file that reads a queue of SQS as a function of AWS Lambda (docs/AWS.md).
// ACEQUIA_CONFIG names the file; default: acequia.yaml beside the program.
package main

import (
	"cmp"
	"log/slog"
	"os"

	runtime "github.com/aws/aws-lambda-go/lambda"

	"github.com/acequia-io/acequia/catalog"
	"github.com/acequia-io/acequia/internal/lambda"
)

func main() {
	h := &lambda.Handler{
		Files: []string{cmp.Or(os.Getenv("ACEQUIA_CONFIG"), "acequia.yaml")}, Plugins: catalog.Default(), Lookup: os.LookupEnv,
		Log: slog.New(slog.NewJSONHandler(os.Stdout, nil)),
	}
	runtime.Start(h.Handle)
}
