package deploy_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/template"

	"github.com/goccy/go-yaml"
)

const chart = "helm/acequia"

// Object is what every manifest has; the rest is decoded by kind.
type Object struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   struct {
		Name        string
		Labels      map[string]string
		Annotations map[string]string
	}
}

// The parts of the API of Kubernetes that the chart uses. A key that is none of theirs is a mistake.
type (
	probe struct {
		HTTPGet             struct{ Path, Port string } `yaml:"httpGet"`
		PeriodSeconds       int                         `yaml:"periodSeconds"`
		TimeoutSeconds      int                         `yaml:"timeoutSeconds"`
		FailureThreshold    int                         `yaml:"failureThreshold"`
		InitialDelaySeconds int                         `yaml:"initialDelaySeconds"`
	}
	named     struct{ Name string }
	container struct {
		Name, Image string
		PullPolicy  string `yaml:"imagePullPolicy"`
		Args        []string
		WorkingDir  string `yaml:"workingDir"`
		Env         []struct {
			Name, Value string
			ValueFrom   struct {
				SecretKeyRef struct{ Name, Key string } `yaml:"secretKeyRef"`
			} `yaml:"valueFrom"`
		}
		EnvFrom []struct {
			SecretRef named `yaml:"secretRef"`
		} `yaml:"envFrom"`
		Ports []struct {
			Name, Protocol string
			ContainerPort  int `yaml:"containerPort"`
		}
		Startup         probe `yaml:"startupProbe"`
		Liveness        probe `yaml:"livenessProbe"`
		Readiness       probe `yaml:"readinessProbe"`
		SecurityContext struct {
			AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
			ReadOnlyRootFilesystem   bool  `yaml:"readOnlyRootFilesystem"`
			Capabilities             struct{ Drop []string }
		} `yaml:"securityContext"`
		Resources    struct{ Requests, Limits map[string]string }
		VolumeMounts []struct {
			Name      string
			MountPath string `yaml:"mountPath"`
			SubPath   string `yaml:"subPath"`
			ReadOnly  bool   `yaml:"readOnly"`
		} `yaml:"volumeMounts"`
	}
	statefulSet struct {
		Object `yaml:",inline"`
		Spec   struct {
			Replicas            *int
			ServiceName         string `yaml:"serviceName"`
			PodManagementPolicy string `yaml:"podManagementPolicy"`
			Selector            struct {
				MatchLabels map[string]string `yaml:"matchLabels"`
			}
			Template struct {
				Metadata struct{ Labels, Annotations map[string]string }
				Spec     struct {
					ServiceAccountName string  `yaml:"serviceAccountName"`
					Automount          *bool   `yaml:"automountServiceAccountToken"`
					Grace              int     `yaml:"terminationGracePeriodSeconds"`
					ImagePullSecrets   []named `yaml:"imagePullSecrets"`
					SecurityContext    struct {
						RunAsNonRoot        bool                  `yaml:"runAsNonRoot"`
						RunAsUser           int                   `yaml:"runAsUser"`
						RunAsGroup          int                   `yaml:"runAsGroup"`
						FSGroup             int                   `yaml:"fsGroup"`
						FSGroupChangePolicy string                `yaml:"fsGroupChangePolicy"`
						SeccompProfile      struct{ Type string } `yaml:"seccompProfile"`
					} `yaml:"securityContext"`
					Containers   []container
					NodeSelector map[string]string `yaml:"nodeSelector"`
					Tolerations  []map[string]string
					Affinity     map[string]any
					Volumes      []struct {
						Name      string
						ConfigMap named    `yaml:"configMap"`
						EmptyDir  struct{} `yaml:"emptyDir"`
					}
				}
			}
			VolumeClaimTemplates []struct {
				Metadata named
				Spec     struct {
					AccessModes      []string `yaml:"accessModes"`
					StorageClassName string   `yaml:"storageClassName"`
					Resources        struct{ Requests map[string]string }
				}
			} `yaml:"volumeClaimTemplates"`
		}
	}
	scaledObject struct {
		Object `yaml:",inline"`
		Spec   struct {
			ScaleTargetRef struct {
				APIVersion string `yaml:"apiVersion"`
				Kind, Name string
			} `yaml:"scaleTargetRef"`
			MinReplicaCount int `yaml:"minReplicaCount"`
			MaxReplicaCount int `yaml:"maxReplicaCount"`
			PollingInterval int `yaml:"pollingInterval"`
			CooldownPeriod  int `yaml:"cooldownPeriod"`
			Triggers        []struct {
				Type              string
				AuthenticationRef named `yaml:"authenticationRef"`
				Metadata          struct {
					QueueURL    string `yaml:"queueURL"`
					AWSRegion   string `yaml:"awsRegion"`
					QueueLength string `yaml:"queueLength"`
				}
			}
		}
	}
)

// rendered renders the chart as helm does, for the functions that it uses: helm itself is checked with by hand (make deploy-check).
func rendered(t *testing.T, set func(values map[string]any)) ([]string, error) {
	t.Helper()
	var values, meta map[string]any
	for name, into := range map[string]*map[string]any{"values.yaml": &values, "Chart.yaml": &meta} {
		if err := yaml.Unmarshal([]byte(read(t, chart+"/"+name)), into); err != nil {
			t.Fatal(err)
		}
	}
	set(values)
	capital := map[string]any{}
	for k, v := range meta {
		capital[strings.ToUpper(k[:1])+k[1:]] = v
	}
	var root *template.Template
	indented := func(n int, s string) string {
		return "\n" + strings.Repeat(" ", n) + strings.ReplaceAll(s, "\n", "\n"+strings.Repeat(" ", n))
	}
	root = template.New("chart").Option("missingkey=error").Funcs(template.FuncMap{
		"nindent": indented, "quote": func(v any) string { return fmt.Sprintf("%q", fmt.Sprint(v)) },
		"trunc":      func(n int, s string) string { return s[:min(n, len(s))] },
		"trimSuffix": func(suffix, s string) string { return strings.TrimSuffix(s, suffix) },
		"default": func(other, v any) any {
			if v == nil || v == "" {
				return other
			}
			return v
		},
		"required": func(why string, v any) (any, error) {
			if v == nil || v == "" {
				return nil, errors.New(why)
			}
			return v, nil
		},
		"toYaml": func(v any) (string, error) {
			out, err := yaml.Marshal(v)
			return strings.TrimSuffix(string(out), "\n"), err
		},
		"sha256sum": func(s string) string { sum := sha256.Sum256([]byte(s)); return hex.EncodeToString(sum[:]) },
		"include": func(name string, data any) (string, error) {
			var b strings.Builder
			err := root.ExecuteTemplate(&b, name, data)
			return b.String(), err
		},
	})
	files, err := filepath.Glob(filepath.FromSlash(chart + "/templates/*"))
	if err != nil || len(files) < 8 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		if _, err := root.New(path.Base(filepath.ToSlash(f))).Parse(read(t, f)); err != nil {
			t.Fatal(err)
		}
	}
	data := map[string]any{"Values": values, "Chart": capital, "Release": map[string]any{"Name": "one", "Namespace": "data", "Service": "Helm"}}
	var out []string
	for _, f := range files {
		var b strings.Builder
		if err := root.ExecuteTemplate(&b, filepath.Base(f), data); err != nil {
			return nil, err
		}
		if filepath.Ext(f) == ".yaml" {
			out = append(out, strings.Split(b.String(), "\n---\n")...)
		}
	}
	return slices.DeleteFunc(out, func(doc string) bool { return strings.TrimSpace(doc) == "" }), nil
}

// everything turns all parts of the chart on.
func everything(values map[string]any) {
	for _, part := range []string{"autoscaling", "ingress", "serviceMonitor"} {
		of, _ := values[part].(map[string]any)
		of["enabled"] = true
	}
	scaling, _ := values["autoscaling"].(map[string]any)
	scaling["queueURL"], scaling["region"] = "https://sqs.eu-west-1.amazonaws.com/123456789012/games", "eu-west-1"
	values["env"] = map[string]any{"AWS_REGION": "eu-west-1"}
	values["envFromSecret"] = "passwords"
	values["state"] = map[string]any{"dsnSecret": "state"}
	values["tolerations"] = []any{map[string]any{"key": "data", "operator": "Exists"}}
	values["imagePullSecrets"] = []any{map[string]any{"name": "registry"}}
	monitor, _ := values["serviceMonitor"].(map[string]any)
	monitor["tokenSecret"] = "token"
}

func TestChart(t *testing.T) {
	t.Parallel()
	var values struct{ Config string }
	if err := yaml.Unmarshal([]byte(read(t, chart+"/values.yaml")), &values); err != nil {
		t.Fatal(err)
	}
	sound(t, "the configuration of the chart", values.Config)
	for name, set := range map[string]func(map[string]any){"defaults": func(map[string]any) {}, "everything": everything} {
		docs, err := rendered(t, set)
		if err != nil {
			t.Fatal(err)
		}
		kinds := map[string]Object{}
		for _, doc := range docs {
			var o Object
			if err := yaml.Unmarshal([]byte(doc), &o); err != nil || o.APIVersion == "" || o.Metadata.Name == "" || o.Metadata.Labels["app.kubernetes.io/instance"] != "one" {
				t.Errorf("%s: %v in\n%s", name, err, doc)
			}
			kinds[o.Kind] = o
			switch o.Kind {
			case "StatefulSet":
				var s statefulSet
				decode(t, name, doc, &s)
				checkSet(t, s)
				if scaled := s.Spec.Replicas == nil; scaled != (name == "everything") {
					t.Errorf("%s: replicas %v, which KEDA counts where it is on", name, s.Spec.Replicas)
				}
			case "ScaledObject":
				var s scaledObject
				decode(t, name, doc, &s)
				if m := s.Spec.Triggers[0]; s.Spec.ScaleTargetRef.Kind != "StatefulSet" || m.Type != "aws-sqs-queue" || m.Metadata.QueueLength != "20000" || m.Metadata.AWSRegion != "eu-west-1" {
					t.Errorf("%+v", s)
				}
			}
		}
		want := []string{"ConfigMap", "PodDisruptionBudget", "Service", "ServiceAccount", "StatefulSet"}
		if name == "everything" {
			want = append(want, "Ingress", "ScaledObject", "ServiceMonitor", "TriggerAuthentication")
			slices.Sort(want)
		}
		if got := slices.Sorted(maps.Keys(kinds)); !slices.Equal(got, want) {
			t.Errorf("%s: %v", name, got)
		}
	}
	// A queue that is not named is told, and not scaled by.
	if _, err := rendered(t, func(values map[string]any) {
		of, _ := values["autoscaling"].(map[string]any)
		of["enabled"] = true
	}); err == nil || !strings.Contains(err.Error(), "autoscaling.queueURL") {
		t.Error(err)
	}
}

func checkSet(t *testing.T, s statefulSet) {
	t.Helper()
	pod := s.Spec.Template.Spec
	c := pod.Containers[0]
	if !maps.Equal(s.Spec.Selector.MatchLabels, s.Spec.Template.Metadata.Labels) || len(s.Spec.Selector.MatchLabels) == 0 {
		t.Error("the selector selects other pods than those of the template")
	}
	if !pod.SecurityContext.RunAsNonRoot || c.SecurityContext.AllowPrivilegeEscalation == nil || *c.SecurityContext.AllowPrivilegeEscalation ||
		!c.SecurityContext.ReadOnlyRootFilesystem || !slices.Contains(c.SecurityContext.Capabilities.Drop, "ALL") {
		t.Errorf("the pod may do more than it needs: %+v", pod.SecurityContext)
	}
	if c.Liveness.HTTPGet.Path != "/livez" || c.Readiness.HTTPGet.Path != "/readyz" || c.Readiness.HTTPGet.Port != c.Ports[0].Name || c.Ports[0].ContainerPort != 3006 {
		t.Errorf("the probes: %+v", c)
	}
	volumes := map[string]bool{s.Spec.VolumeClaimTemplates[0].Metadata.Name: true}
	for _, v := range pod.Volumes {
		volumes[v.Name] = true
	}
	for _, m := range c.VolumeMounts {
		if !volumes[m.Name] {
			t.Errorf("there is no volume %s", m.Name)
		}
	}
	if strings.HasSuffix(c.Image, ":") || pod.Grace < 60 || c.Resources.Limits["memory"] == "" {
		t.Errorf("%+v", c)
	}
}
