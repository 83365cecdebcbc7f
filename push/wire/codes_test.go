package wire

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strconv"
	"testing"
)

// Two codes of one text would be one error, one metric and one alert.
func TestCodesAreDistinct(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "codes.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	form, names := regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`), map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil || !form.MatchString(text) {
			t.Errorf("%s = %q, want words with _ between them", spec.Names[0], text)
		}
		if other, twice := names[text]; twice {
			t.Errorf("%s and %s are both %q", other, spec.Names[0], text)
		}
		names[text] = spec.Names[0].Name
		return true
	})
	if len(names) < 40 {
		t.Errorf("codes.go has %d codes, want all of them", len(names))
	}
}

func TestCodeIsFoundInAnError(t *testing.T) {
	var code Code
	if err := fmt.Errorf("listen: %w: revoked yesterday", TokenRevoked); !errors.As(err, &code) || code != TokenRevoked {
		t.Errorf("the code of %q is %q, want %q", err, code, TokenRevoked)
	}
}
