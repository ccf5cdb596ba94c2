package athena

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/athena"
	"github.com/aws/aws-sdk-go-v2/service/athena/types"

	"github.com/acequia-io/acequia/internal/awsconfig"
)

// NamedQuery is a query that the workgroup offers in Athena's console.
type NamedQuery struct{ Name, About, SQL string }

// NamedQueries plans the queries of the workgroup. Those of other names, and of other databases, are not touched.
func (c *Client) NamedQueries(ctx context.Context, queries []NamedQuery) ([]Change, error) {
	known, err := c.named(ctx)
	if err != nil {
		return nil, err
	}
	place := "workgroup " + c.place.Workgroup
	out := make([]Change, len(queries))
	for i, q := range queries {
		is, there := known[q.Name]
		if !there {
			out[i] = Change{Kind: "query", Name: q.Name, Action: Create, do: func(ctx context.Context) error {
				_, err := c.athena.CreateNamedQuery(ctx, &athena.CreateNamedQueryInput{
					Name: &q.Name, Description: &q.About, QueryString: &q.SQL, Database: &c.place.Database, WorkGroup: &c.place.Workgroup,
				})
				return awsconfig.Explain(err, "make the query "+q.Name+" (athena:CreateNamedQuery)", place)
			}}
			continue
		}
		var d differences
		if aws.ToString(is.QueryString) != q.SQL {
			d = append(d, "its statement")
		}
		d.text("description", aws.ToString(is.Description), q.About)
		out[i] = d.change("query", q.Name, func(ctx context.Context) error {
			_, err := c.athena.UpdateNamedQuery(ctx, &athena.UpdateNamedQueryInput{NamedQueryId: is.NamedQueryId, Name: &q.Name, Description: &q.About, QueryString: &q.SQL})
			return awsconfig.Explain(err, "change the query "+q.Name+" (athena:UpdateNamedQuery)", place)
		})
	}
	return out, nil
}

// named gives the queries of the workgroup over the database. A workgroup that is not there has none.
func (c *Client) named(ctx context.Context) (map[string]types.NamedQuery, error) {
	out := map[string]types.NamedQuery{}
	pages := athena.NewListNamedQueriesPaginator(c.athena, &athena.ListNamedQueriesInput{WorkGroup: &c.place.Workgroup})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil && noWorkgroup(err) {
			return out, nil
		}
		if err != nil {
			return nil, awsconfig.Explain(err, "list the queries (athena:ListNamedQueries)", "workgroup "+c.place.Workgroup)
		}
		for _, id := range page.NamedQueryIds {
			q, err := c.athena.GetNamedQuery(ctx, &athena.GetNamedQueryInput{NamedQueryId: &id})
			if err != nil {
				return nil, awsconfig.Explain(err, "read a query (athena:GetNamedQuery)", "workgroup "+c.place.Workgroup)
			}
			if aws.ToString(q.NamedQuery.Database) == c.place.Database {
				out[aws.ToString(q.NamedQuery.Name)] = *q.NamedQuery
			}
		}
	}
	return out, nil
}
