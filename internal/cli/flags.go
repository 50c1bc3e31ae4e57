package cli

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/mailgrant/mailgrant/client"
	"github.com/mailgrant/mailgrant/internal/fault"
)

// flagNames are the flags whose name does not follow from the field's.
var flagNames = map[string]string{
	"receive.protocol": "receive", "send.protocol": "send", "authorize.prompt": "prompt", "client_secrets": "client-secret-file", "html": "html-file", "actor": "by",
}

var listIndex = regexp.MustCompile(`\[\d+\]`)

// byFlags names the fields of a refusal as they were typed: receive.host is
// --receive-host, kind[0] is --kind. A field that the command has no flag for
// keeps its name.
func byFlags(ran *cobra.Command, err error) error {
	p, ok := errors.AsType[*client.Problem](err)
	if !ok || ran == nil {
		return err
	}
	typed := *p
	typed.Field, typed.Errors = flagOf(ran, p.Field), slices.Clone(p.Errors)
	for i, e := range typed.Errors {
		typed.Errors[i].Field = flagOf(ran, e.Field)
	}
	return &typed
}

func flagOf(ran *cobra.Command, field string) string {
	if field == "" {
		return ""
	}
	plainName := listIndex.ReplaceAllString(field, "")
	first, _, _ := strings.Cut(plainName, ".")
	last := plainName[strings.LastIndexByte(plainName, '.')+1:]
	for _, name := range []string{flagNames[plainName], plainName, flagNames[first], last, strings.TrimSuffix(last, "s"), strings.TrimSuffix(first, "s")} {
		name = strings.NewReplacer(".", "-", "_", "-").Replace(name)
		if name != "" && ran.Flags().Lookup(name) != nil {
			return "--" + name
		}
	}
	if strings.Contains(ran.Use, " "+strings.ToUpper(plainName)) {
		return strings.ToUpper(plainName)
	}
	return field
}

// unknownFlag names what was probably meant by a flag that there is not.
func unknownFlag(cmd *cobra.Command, err error) error {
	text := sentence(err.Error())
	gone, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok {
		return &usageError{text: text}
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	text = fmt.Sprintf("There is no flag --%s.", shorten(gone.GetSpecifiedName(), 40))
	if gone.GetSpecifiedShortnames() != "" {
		text = fmt.Sprintf("There is no flag -%s.", shorten(gone.GetSpecifiedName(), 40))
	} else if near := fault.Nearest(gone.GetSpecifiedName(), names); near != "" {
		text += " Did you mean --" + near + "?"
	}
	return &usageError{text: text}
}
