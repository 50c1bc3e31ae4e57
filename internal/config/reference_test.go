package config_test

import (
	"os"
	"strings"
	"testing"

	"github.com/mailgrant/mailgrant/internal/config"
)

const referencePage = "../../docs/configuration.md"

// The page in docs is what the list of settings says; MAILGRANT_TEST_UPDATE=1 writes it.
func TestReference_IsUpToDate(t *testing.T) {
	t.Parallel()
	want := config.Reference()
	if os.Getenv("MAILGRANT_TEST_UPDATE") != "" {
		if err := os.WriteFile(referencePage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(referencePage)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/configuration.md is out of date; run “make generate”")
	}
}

func TestReference_NamesEverySettingWithItsMeaning(t *testing.T) {
	t.Parallel()
	page := config.Reference()
	for _, s := range config.Settings() {
		_, about, found := strings.Cut(page, "## "+s.Name+"\n")
		about, _, _ = strings.Cut(about, "\n## ")
		if !found || s.Text == "" || s.Allowed == "" || !strings.Contains(about, s.Text) || !strings.Contains(about, "`"+s.Env()+"`") {
			t.Errorf("%s: %s", s.Name, about)
		}
	}
	if strings.Contains(page, os.Getenv("HOME")) && os.Getenv("HOME") != "/" && os.Getenv("HOME") != "" {
		t.Error("the page holds a path of this machine")
	}
}
