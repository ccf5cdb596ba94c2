package blobtest

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// request is one that is being answered.
type request struct {
	*Server
	r    *http.Request
	w    http.ResponseWriter
	op   string
	key  string
	body []byte
	torn bool // the body was cut off
}

// read takes the body and finds out what is asked for.
func (q *request) read() {
	body, err := io.ReadAll(q.r.Body)
	q.body, q.torn = body, err != nil || q.r.ContentLength > int64(len(body))
	_, q.key, _ = strings.Cut(strings.TrimPrefix(q.r.URL.Path, "/"), "/")
	query := q.r.URL.Query()
	has := query.Has
	switch method := q.r.Method; {
	case q.key == "" && has("uploads"):
		q.op = Uploads
	case q.key == "" && has("delete"):
		q.op = Delete
	case q.key == "":
		q.op = List
	case has("uploads"):
		q.op = Create
	case has("partNumber"):
		q.op = Part
	case has("uploadId") && method == http.MethodGet:
		q.op = Parts
	case has("uploadId") && method == http.MethodPost:
		q.op = Complete
	case has("uploadId"):
		q.op = Abort
	default:
		q.op = map[string]string{http.MethodHead: Head, http.MethodGet: Get, http.MethodPut: Put}[method]
	}
}

func (q *request) fail(status int, code string) {
	q.w.Header().Set("Content-Type", "application/xml")
	q.w.WriteHeader(status)
	if q.r.Method != http.MethodHead {
		_, _ = fmt.Fprintf(q.w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>as asked</Message></Error>`, code)
	}
}

func (q *request) answer(v any) {
	text, err := xml.Marshal(v)
	if err != nil {
		q.fail(http.StatusInternalServerError, "InternalError")
		return
	}
	q.w.Header().Set("Content-Type", "application/xml")
	_, _ = q.w.Write(append([]byte(xml.Header), text...))
}

func (q *request) serve() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.w.Header().Set("Date", q.now().UTC().Format(http.TimeFormat))
	bucket, _, _ := strings.Cut(strings.TrimPrefix(q.r.URL.Path, "/"), "/")
	owner := q.r.Header.Get("x-amz-expected-bucket-owner")
	switch {
	case bucket != "bucket":
		q.fail(http.StatusNotFound, "NoSuchBucket")
		return
	case q.denied[q.op] && q.op != Delete || owner != "" && owner != Account:
		q.fail(http.StatusForbidden, "AccessDenied")
		return
	case q.torn:
		q.fail(http.StatusBadRequest, "IncompleteBody")
		return
	case !q.whole():
		q.fail(http.StatusBadRequest, "BadDigest")
		return
	}
	switch q.op {
	case List:
		q.list()
	case Uploads:
		q.listUploads()
	case Delete:
		q.remove()
	case Head, Get:
		q.get()
	case Put:
		q.put()
	case Create:
		q.create()
	default:
		q.ofUpload()
	}
}

// whole compares the checksum that came with the body.
func (q *request) whole() bool {
	want := q.r.Header.Get("x-amz-checksum-crc32")
	return want == "" || q.op == Complete || want == base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(q.body)))
}

// object is one with what the headers of the request say.
func (q *request) object() Object {
	o := Object{Body: q.body, Metadata: map[string]string{}, SSE: q.r.Header.Get("x-amz-server-side-encryption"), Key: q.r.Header.Get("x-amz-server-side-encryption-aws-kms-key-id")}
	for name, values := range q.r.Header {
		if key, ok := strings.CutPrefix(strings.ToLower(name), "x-amz-meta-"); ok {
			o.Metadata[key] = values[0]
		}
	}
	return o
}

// met says whether the conditions of a write are, and refuses it else.
func (q *request) met() bool {
	there := q.objects[q.key]
	match := q.r.Header.Get("If-Match")
	switch {
	case match != "" && there == nil:
		q.fail(http.StatusNotFound, "NoSuchKey")
	case q.r.Header.Get("If-None-Match") == "*" && there != nil, match != "" && match != there.tag:
		q.fail(http.StatusPreconditionFailed, "PreconditionFailed")
	default:
		return true
	}
	return false
}

func (q *request) put() {
	if q.met() {
		q.w.Header().Set("ETag", q.store(q.key, q.object()).tag)
	}
}

func (q *request) get() {
	o := q.objects[q.key]
	if o == nil {
		q.fail(http.StatusNotFound, "NoSuchKey")
		return
	}
	if match := q.r.Header.Get("If-Match"); match != "" && match != o.tag {
		q.fail(http.StatusPreconditionFailed, "PreconditionFailed")
		return
	}
	for name, value := range o.Metadata {
		q.w.Header().Set("x-amz-meta-"+name, value)
	}
	q.w.Header().Set("ETag", o.tag)
	http.ServeContent(q.w, q.r, "", o.modified, bytes.NewReader(o.Body)) // ranges as HTTP has them
}

func (q *request) list() {
	type content struct {
		Key, LastModified string
		Size              int
	}
	type folder struct{ Prefix string }
	out := struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		IsTruncated           bool
		NextContinuationToken string `xml:",omitempty"`
		Contents              []content
		CommonPrefixes        []folder
	}{}
	query := q.r.URL.Query()
	prefix, last := query.Get("prefix"), ""
	for _, key := range slices.Sorted(maps.Keys(q.objects)) {
		name, common := strings.CutPrefix(key, prefix)
		if !common || key <= query.Get("continuation-token") && query.Has("continuation-token") {
			continue
		}
		below, _, inside := strings.Cut(name, "/")
		if below = prefix + below + "/"; inside && query.Get("delimiter") == "/" {
			if n := len(out.CommonPrefixes); n > 0 && out.CommonPrefixes[n-1].Prefix == below {
				last = key
				continue
			}
		}
		if len(out.Contents)+len(out.CommonPrefixes) == q.page {
			out.IsTruncated, out.NextContinuationToken = true, last
			break
		}
		if last = key; inside && query.Get("delimiter") == "/" {
			out.CommonPrefixes = append(out.CommonPrefixes, folder{below})
			continue
		}
		o := q.objects[key]
		out.Contents = append(out.Contents, content{key, o.modified.Format(time.RFC3339), o.size})
	}
	q.answer(out)
}

func (q *request) listUploads() {
	type one struct{ Key, UploadId string } //nolint:revive // the names of the protocol
	out := struct {
		XMLName                           xml.Name `xml:"ListMultipartUploadsResult"`
		IsTruncated                       bool
		NextKeyMarker, NextUploadIdMarker string //nolint:revive // as above
		Upload                            []one
	}{}
	query := q.r.URL.Query()
	key, id := query.Get("key-marker"), query.Get("upload-id-marker")
	all := slices.SortedFunc(maps.Values(q.uploads), func(a, b *upload) int { return cmp.Or(strings.Compare(a.key, b.key), a.number-b.number) })
	last := -1
	if u := q.uploads[id]; u != nil {
		last = u.number
	}
	for _, u := range all {
		if !strings.HasPrefix(u.key, query.Get("prefix")) || u.key < key || u.key == key && (last < 0 || u.number <= last) {
			continue
		}
		if n := len(out.Upload); n == q.page {
			out.IsTruncated, out.NextKeyMarker, out.NextUploadIdMarker = true, out.Upload[n-1].Key, out.Upload[n-1].UploadId
			break
		}
		out.Upload = append(out.Upload, one{u.key, u.id})
	}
	q.answer(out)
}

func (q *request) remove() {
	var in struct{ Object []struct{ Key string } }
	if xml.Unmarshal(q.body, &in) != nil || len(in.Object) > 1000 {
		q.fail(http.StatusBadRequest, "MalformedXML")
		return
	}
	type refused struct{ Key, Code, Message string }
	var errs []refused // S3 answers 200, and refuses key by key
	for _, o := range in.Object {
		if q.denied[Delete] {
			errs = append(errs, refused{o.Key, "AccessDenied", "Access Denied"})
			continue
		}
		delete(q.objects, o.Key)
	}
	q.answer(struct {
		XMLName xml.Name  `xml:"DeleteResult"`
		Error   []refused //nolint:revive // as above
	}{Error: errs})
}

func (q *request) create() {
	q.serial++
	u := &upload{key: q.key, id: fmt.Sprintf("upload-%d", q.serial), number: q.serial, object: q.object(), parts: map[int]part{}}
	q.uploads[u.id] = u
	q.answer(struct {
		XMLName               xml.Name `xml:"InitiateMultipartUploadResult"`
		Bucket, Key, UploadId string   //nolint:revive // as above
	}{Bucket: "bucket", Key: u.key, UploadId: u.id})
}

// ofUpload answers what is asked of one upload.
func (q *request) ofUpload() {
	u := q.uploads[q.r.URL.Query().Get("uploadId")]
	if u == nil || u.key != q.key {
		q.fail(http.StatusNotFound, "NoSuchUpload")
		return
	}
	switch q.op {
	case Part:
		p := part{q.body, len(q.body), tagOf(q.body)}
		if q.hollow {
			p.body = nil
		}
		u.parts[number(q.r.URL.Query().Get("partNumber"))] = p
		q.w.Header().Set("ETag", p.tag)
	case Parts:
		q.answer(struct {
			XMLName xml.Name `xml:"ListPartsResult"`
		}{})
	case Abort:
		delete(q.uploads, u.id)
		q.w.WriteHeader(http.StatusNoContent)
	case Complete:
		if q.met() {
			q.complete(u)
		}
	}
}

// minPart is the least size of a part that is not the last one.
const minPart = 5 << 20

func (q *request) complete(u *upload) {
	var in struct {
		Part []struct {
			PartNumber int
			ETag       string
		}
	}
	if xml.Unmarshal(q.body, &in) != nil || len(in.Part) == 0 {
		q.fail(http.StatusBadRequest, "MalformedXML")
		return
	}
	var body, tags []byte
	size := 0
	for i, p := range in.Part {
		part, ok := u.parts[p.PartNumber]
		switch {
		case i > 0 && p.PartNumber <= in.Part[i-1].PartNumber:
			q.fail(http.StatusBadRequest, "InvalidPartOrder")
			return
		case !ok || strings.Trim(p.ETag, `"`) != strings.Trim(part.tag, `"`):
			q.fail(http.StatusBadRequest, "InvalidPart")
			return
		case part.size < minPart && i < len(in.Part)-1:
			q.fail(http.StatusBadRequest, "EntityTooSmall")
			return
		}
		sum, _ := hex.DecodeString(strings.Trim(p.ETag, `"`))
		body, tags, size = append(body, part.body...), append(tags, sum...), size+part.size
	}
	if want := q.r.Header.Get("x-amz-mp-object-size"); want != "" && want != strconv.Itoa(size) {
		q.fail(http.StatusBadRequest, "InvalidRequest")
		return
	}
	delete(q.uploads, u.id)
	o := u.object
	o.Body, o.size, o.tag = body, size, strings.TrimSuffix(tagOf(tags), `"`)+fmt.Sprintf("-%d\"", len(in.Part))
	q.store(u.key, o)
	q.answer(struct {
		XMLName   xml.Name `xml:"CompleteMultipartUploadResult"`
		Key, ETag string
	}{Key: u.key, ETag: o.tag})
}
