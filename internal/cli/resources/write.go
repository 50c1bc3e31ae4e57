package resources

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/mailgrant/mailgrant/client"
)

// Write gives a document as a file that Read takes, with a comment wherever a
// secret is to be given.
func Write(d client.Document) ([]byte, error) {
	root := &yaml.Node{Kind: yaml.MappingNode, HeadComment: "Resources of Mailgrant. Change this file, see with “mailgrant diff -f FILE” what that means, then “mailgrant apply -f FILE”.\nSecrets are not in it: those that are stored stay."}
	v := reflect.ValueOf(d)
	for _, k := range keysOf(v.Type()) {
		list := v.FieldByIndex(k.index)
		if list.IsNil() {
			continue
		}
		value, err := write(list)
		if err != nil {
			return nil, err
		}
		if list.Len() == 0 {
			value.Style = yaml.FlowStyle
		}
		root.Content = append(root.Content, plainNode(k.name), value)
	}
	var out bytes.Buffer
	dumper, err := yaml.NewDumper(&out, yaml.WithLineWidth(-1), yaml.WithCompactSeqIndent(false))
	if err != nil {
		return nil, fmt.Errorf("write the resources: %w", err)
	}
	if err := dumper.Dump(root); err != nil {
		return nil, fmt.Errorf("write the resources: %w", err)
	}
	if err := dumper.Close(); err != nil {
		return nil, fmt.Errorf("write the resources: %w", err)
	}
	return out.Bytes(), nil
}

func plainNode(text string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
}

// write turns one of client's values into a node, without what is empty and what
// is the server's.
func write(v reflect.Value) (*yaml.Node, error) {
	switch value := v.Interface().(type) {
	case time.Time:
		form := time.RFC3339Nano
		if value.Equal(value.Truncate(24 * time.Hour)) {
			form = time.DateOnly
		}
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!timestamp", Value: value.UTC().Format(form)}, nil
	case []string:
		n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, text := range value {
			n.Content = append(n.Content, plainNode(text))
		}
		return n, nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		return write(v.Elem())
	case reflect.Struct:
		return writeGroup(v)
	case reflect.Slice:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for i := range v.Len() {
			item, err := write(v.Index(i))
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, item)
		}
		return n, nil
	}
	n := &yaml.Node{}
	if err := n.Encode(v.Interface()); err != nil {
		return nil, fmt.Errorf("write the resources: %w", err)
	}
	return n, nil
}

func writeGroup(v reflect.Value) (*yaml.Node, error) {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, k := range keysOf(v.Type()) {
		member := v.FieldByIndex(k.index)
		if k.readOnly || member.IsZero() || member.Kind() == reflect.Slice && member.Len() == 0 {
			continue
		}
		value, err := write(member)
		if err != nil {
			return nil, err
		}
		name := plainNode(k.name)
		if text, ok := member.Interface().(string); ok && strings.Contains(text, "\n") {
			value.Style = yaml.LiteralStyle
		}
		n.Content = append(n.Content, name, value)
		if k.name == "client_secrets" {
			name.HeadComment = "These are stored and stay. To give another one, put it before them:\n  - {env: NAME, expires_at: 2027-05-01}"
		}
		if k.name == "url" && v.Type() == reflect.TypeFor[client.Webhook]() {
			value.LineComment = "its secret is stored and stays; give another as secret: {file: PATH}"
		}
	}
	return n, nil
}
