package awsconfig

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/aws/smithy-go"

	"github.com/acequia-io/acequia/fault"
)

// Code is the name that a service gives its error, such as NoSuchBucket; "": it is none of a service.
func Code(err error) string {
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		return e.ErrorCode()
	}
	return ""
}

// meaning gives the code and the remedy of an error that a person must act on, by the code of the service; "": nothing is said of it.
// See https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html and the references of the other services.
func meaning(service string) (code, remedy string) {
	switch service {
	case "ExpiredToken", "ExpiredTokenException", "InvalidToken", "UnrecognizedClientException", "InvalidAccessKeyId", "InvalidClientTokenId", "SignatureDoesNotMatch":
		return "ACQ-AWS-003", "look at the credentials: they are wrong, of another account or expired (aws sts get-caller-identity)"
	case "RequestTimeTooSkewed", "RequestExpired", "InvalidSignatureException":
		return "ACQ-AWS-004", "set this machine's clock: AWS refuses what is minutes off"
	case "AccessDenied", "AccessDeniedException", "Forbidden", "UnauthorizedOperation", "AuthorizationError", "KMS.AccessDeniedException":
		return "ACQ-AWS-005", forbidden
	case "NoSuchBucket", "ResourceNotFoundException", "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "EntityNotFoundException", "NotFoundException", "NotFound":
		return "ACQ-AWS-006", "make it with acequia setup apply, or look at its name, the region and the account"
	case "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException":
		return "ACQ-AWS-007", "set the region in which it is: aws: { region: ... }"
	}
	return "", ""
}

const forbidden = "give the role the right that is named, on this resource"

// Explain classifies an error of a service, and says what to do about those that a person must act on. doing is what was tried,
// place what it concerns. Cancellation and errors that have a class already stay as they are.
func Explain(err error, doing, place string) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	reason := fmt.Errorf("%s: %w", doing, err)
	if code, remedy := meaning(Code(err)); code != "" {
		return &fault.Error{Code: code, Place: place, Err: reason, Remedy: remedy}
	}
	switch status := Status(err); {
	case Throttled(err):
		return &fault.Error{Class: fault.Retryable, Code: "ACQ-AWS-008", Place: place, Err: reason, Remedy: "it is tried again, slower; raise the limit if it stays so"}
	case status >= http.StatusInternalServerError:
		return &fault.Error{Class: fault.Retryable, Place: place, Err: reason}
	case status == http.StatusForbidden:
		return &fault.Error{Code: "ACQ-AWS-005", Place: place, Err: reason, Remedy: forbidden}
	case status != 0:
		return &fault.Error{Place: place, Err: reason}
	case strings.Contains(err.Error(), "get credentials") || strings.Contains(err.Error(), "failed to refresh cached credentials"):
		return withoutCredentials(reason)
	}
	return &fault.Error{Class: fault.Retryable, Code: "ACQ-AWS-009", Place: place, Err: reason, Remedy: "look whether the endpoint can be reached; it is tried again"}
}
