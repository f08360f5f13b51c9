// Decides recorded questions with cedar-go, a second implementation of Cedar: one JSON document a line in, one a line out.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sort"

	"github.com/cedar-policy/cedar-go"
)

type question struct {
	Policies map[string]string `json:"policies"`
	Request  struct {
		Principal cedar.EntityUID `json:"principal"`
		Action    cedar.EntityUID `json:"action"`
		Resource  cedar.EntityUID `json:"resource"`
		Context   cedar.Record    `json:"context"`
		Entities  cedar.EntityMap `json:"entities"`
	} `json:"request"`
}

type answer struct {
	Decision string   `json:"decision"`
	Reasons  []string `json:"reasons"`
	Errors   []string `json:"errors"`
}

func decide(line []byte) (answer, error) {
	var q question
	if err := json.Unmarshal(line, &q); err != nil {
		return answer{}, err
	}
	set := cedar.NewPolicySet()
	for id, text := range q.Policies {
		var policy cedar.Policy
		if err := policy.UnmarshalCedar([]byte(text)); err != nil {
			return answer{}, fmt.Errorf("policy %s: %w", id, err)
		}
		set.Add(cedar.PolicyID(id), &policy)
	}
	r := q.Request
	ok, why := cedar.Authorize(set, r.Entities, cedar.Request{Principal: r.Principal, Action: r.Action, Resource: r.Resource, Context: r.Context})
	out := answer{Decision: "deny", Reasons: []string{}, Errors: []string{}}
	if ok == cedar.Allow {
		out.Decision = "allow"
	}
	for _, reason := range why.Reasons {
		out.Reasons = append(out.Reasons, string(reason.PolicyID))
	}
	for _, failure := range why.Errors {
		out.Errors = append(out.Errors, string(failure.PolicyID))
	}
	sort.Strings(out.Reasons)
	sort.Strings(out.Errors)
	return out, nil
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 1<<20), 1<<26)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		found, err := decide(lines.Bytes())
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		_ = out.Encode(found)
	}
}
