package app

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/query"
	"github.com/acequia-io/acequia/internal/setup"
)

// Finding is what a look at one thing found.
type Finding struct {
	Endpoint
	Warning bool `json:"warning,omitempty"` // it works, and should be looked at: Reason and Remedy say why
}

// What the doctor warns of, and what AWS refuses: https://docs.aws.amazon.com/IAM/latest/UserGuide/signature-v4-troubleshooting.html.
const (
	littleSpace = 1 << 30 // bytes
	smallSkew   = 30 * time.Second
	largeSkew   = 5 * time.Minute
)

// Doctor looks at all that a project needs of its machine and of others: disks, credentials and the clock where it uses AWS, and
// what Connect looks at. It leaves nothing behind.
func (p *Project) Doctor(ctx context.Context, listen string, port int) []Finding {
	out := append(p.disks(), p.cloud(ctx)...)
	endpoints := p.Connect(ctx, listen, port)
	for _, e := range endpoints {
		out = append(out, Finding{Endpoint: e})
	}
	if !slices.ContainsFunc(endpoints, func(e Endpoint) bool { return e.Kind == "web" }) {
		e := Endpoint{Kind: "web", Name: net.JoinHostPort(listen, strconv.Itoa(port)), Found: "the port is free"}
		listener, err := listenOn(ctx, listen, port)
		if err == nil {
			err = listener.Close()
		}
		out = append(out, Finding{Endpoint: e.because(err)})
	}
	return out
}

// program tells versions, and whether SQL can be asked.
func program(version string) Finding {
	f := Finding{Endpoint: Endpoint{Kind: "program", Name: "acequia " + version, Type: runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH, OK: true, Found: "SQL can be asked here"}}
	if err := new(query.Engine).Available(); err != nil {
		f.Warning, f.Code, f.Reason, f.Remedy = true, fault.Code(err), "this build asks no SQL of files here", "take the build for linux/amd64, or ask by Athena"
	}
	return f
}

// disks tells how much space is left where the project writes.
func (p *Project) disks() []Finding {
	places := []string{p.State}
	if lakes, err := p.Lakes(); err == nil {
		for _, l := range lakes {
			if !strings.Contains(l.Root, "://") {
				places = append(places, l.Root)
			}
		}
	}
	slices.Sort(places)
	var out []Finding
	for _, at := range slices.Compact(places) {
		_, free, err := blob.Probe(at)
		if err != nil {
			err = dirError(at, err)
		}
		f := Finding{Endpoint: Endpoint{Kind: "disk", Name: at, Found: blob.SpaceText(free)}.because(err)}
		if err == nil && free < littleSpace {
			f.Warning, f.Reason, f.Remedy = true, "little is left: "+blob.SpaceText(free), "make room: pipelines stop when the disk is full, with their data unharmed"
		}
		out = append(out, f)
	}
	return out
}

// cloud tells whom AWS takes this process for, and what its clock says; nothing where no part is of AWS.
func (p *Project) cloud(ctx context.Context) []Finding {
	policies, _ := p.Policies(setup.Options{Athena: setup.Athena{Workgroup: "acequia", Database: "acequia"}})
	var asked []awsconfig.Settings
	var out []Finding
	actions := map[string]bool{}
	for _, one := range policies {
		if one.Component == setup.Tables { // of a person, not of this process
			continue
		}
		for _, s := range one.Document.Statement {
			for _, a := range s.Action {
				actions[a] = true
			}
		}
		if !slices.Contains(asked, one.AWS) {
			asked = append(asked, one.AWS)
			out = append(out, identity(ctx, one.AWS)...)
		}
	}
	if len(actions) > 0 {
		out = append(out, Finding{Endpoint: Endpoint{
			Kind: "rights", Name: "AWS", OK: true,
			Found: fmt.Sprintf("%d actions are needed, which acequia setup iam prints; each part tries its own below", len(actions)),
		}})
	}
	return out
}

// identity asks AWS with the settings of a part.
func identity(ctx context.Context, s awsconfig.Settings) []Finding {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	who := Endpoint{Kind: "credentials", Name: "AWS"}
	if s.Endpoint != "" {
		who.Name = s.Endpoint
	}
	c, err := awsconfig.Load(ctx, s)
	var found awsconfig.Identity
	if err == nil {
		found, err = awsconfig.Identify(ctx, c)
	}
	who.Found = found.ARN + ", " + c.Region
	out := []Finding{{Endpoint: who.because(err)}}
	if err != nil {
		return out
	}
	if source := awsconfig.Static(ctx, c); source != "" && s.Endpoint == "" {
		out[0].Warning, out[0].Reason = true, "the keys do not expire: "+source
		out[0].Remedy = "let a role give them: of the instance, of the task or of the pod"
	}
	return append(out, clock(who.Name, found.Skew))
}

// clock judges how far this machine's clock is from that of AWS.
func clock(server string, skew time.Duration) Finding {
	f := Finding{Endpoint: Endpoint{Kind: "clock", Name: server, Found: "it goes as that of AWS does"}}
	if skew.Abs() < smallSkew {
		f.OK = true
		return f
	}
	direction := "behind"
	if skew < 0 {
		direction = "ahead of"
	}
	why := fmt.Errorf("this machine's clock is %s %s that of AWS, which refuses 5 minutes", skew.Abs(), direction)
	remedy := "set it, and keep it so: chronyc makestep; timedatectl set-ntp true"
	if skew.Abs() >= largeSkew {
		f.Endpoint = f.because(&fault.Error{Code: "ACQ-AWS-004", Place: server, Err: why, Remedy: remedy})
		return f
	}
	f.OK, f.Warning, f.Reason, f.Remedy = true, true, why.Error(), remedy
	return f
}

// Unwell says whether any finding is no warning.
func Unwell(all []Finding) bool {
	return slices.ContainsFunc(all, func(f Finding) bool { return !f.OK })
}

// Diagnose tells of the program, and what is wrong or doubtful in the configuration.
func Diagnose(version string, problems config.Problems) []Finding {
	out := []Finding{program(version)}
	for _, p := range problems {
		f := Finding{Endpoint: Endpoint{Kind: "configuration", Name: fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column), OK: p.Warning}, Warning: p.Warning}
		f.Code, f.Reason, f.Remedy = p.Code, p.Message, p.Remedy
		out = append(out, f)
	}
	return out
}
