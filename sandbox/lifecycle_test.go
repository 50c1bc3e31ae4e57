package sandbox_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mailgrant/mailgrant/sandbox"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"))
}

func TestSandbox_Lifecycle(t *testing.T) {
	t.Parallel()
	t.Run("closes twice, and frees its ports", func(t *testing.T) {
		t.Parallel()
		box, err := sandbox.Start(t.Context(), sandbox.Options{})
		if err != nil {
			t.Fatal(err)
		}
		address := strings.TrimPrefix(box.Describe().BaseURL, "http://")
		if _, err := sandbox.Start(t.Context(), sandbox.Options{HTTPAddr: address}); err == nil || !strings.Contains(err.Error(), "cannot listen for HTTP on "+address) {
			t.Errorf("a second one on the same port: %v", err)
		}
		for range 2 {
			if err := box.Close(); err != nil {
				t.Error(err)
			}
		}
		again, err := sandbox.Start(t.Context(), sandbox.Options{HTTPAddr: address})
		if err != nil {
			t.Fatal(err)
		}
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("ends with its context", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		box, err := sandbox.Start(ctx, sandbox.Options{})
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := box.Wait(); err != nil {
			t.Error(err)
		}
	})
	t.Run("closes although a request hangs", func(t *testing.T) {
		t.Parallel()
		box, err := sandbox.Start(t.Context(), sandbox.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := box.InjectFault(directory.Fault{Point: directory.PointDiscovery, Action: directory.ActionHang, Times: 1}); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error)
		go func() {
			response, err := http.Get(box.Describe().Discovery)
			if err == nil {
				_ = response.Body.Close()
			}
			ended <- err
		}()
		deadline := time.After(time.Minute)
		for len(box.World().Faults()) > 0 {
			select {
			case <-deadline:
				t.Fatal("the request never came")
			case <-time.After(time.Millisecond):
			}
		}
		if err := box.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; err == nil {
			t.Error("the hanging request was answered")
		}
	})
	t.Run("a story that does not hold together is refused", func(t *testing.T) {
		t.Parallel()
		story := directory.Story{Users: []directory.User{{UPN: "a@b", TenantID: "nowhere"}}}
		if _, err := sandbox.Start(t.Context(), sandbox.Options{Story: &story}); err == nil || !strings.Contains(err.Error(), "a@b") {
			t.Errorf("%v", err)
		}
	})
}

func TestSandbox_Description(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	text, err := json.Marshal(d.Describe())
	d.must(err)
	for _, want := range []string{
		directory.StoryDesk, directory.StoryDeskPassword, directory.StoryClientID, directory.StoryClientSecret, directory.StoryScans, d.redirect,
		"BEGIN CERTIFICATE", `"tls":"starttls"`, d.about.ControlKey,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the description lacks %q", want)
		}
	}
	t.Run("every server speaks with a certificate of the authority", func(t *testing.T) {
		for _, address := range []string{strings.TrimPrefix(d.about.TLSURL, "https://"), d.about.IMAP.Address()} {
			connection, err := tls.Dial("tcp", address, &tls.Config{RootCAs: d.RootCAs()})
			if err != nil {
				t.Errorf("%s: %v", address, err)
				continue
			}
			_ = connection.Close()
		}
	})
	t.Run("over HTTPS, every address says https", func(t *testing.T) {
		d.t = t
		response, err := d.overTLS().Get(d.about.TLSURL + "/" + directory.StoryDomain + "/v2.0/.well-known/openid-configuration")
		d.must(err)
		defer func() { _ = response.Body.Close() }()
		var metadata map[string]any
		d.must(json.NewDecoder(response.Body).Decode(&metadata))
		if metadata["issuer"] != d.about.TLSURL+"/"+directory.StoryTenantID+"/v2.0" {
			t.Errorf("issuer %v", metadata["issuer"])
		}
	})
}
