package setup

// Service is what the cinema service's environment names of AWS.
type Service struct {
	Lake, Reports, Backups Folder
	Tables                 []string // of items, and of their indexes by elements
}

// Policies gives the policies of its parts.
func (s Service) Policies(o Options) ([]Policy, error) {
	for _, f := range []Folder{s.Lake, s.Reports, s.Backups} {
		if err := f.check(); err != nil {
			return nil, err
		}
	}
	for _, t := range s.Tables {
		if err := tableName(t); err != nil {
			return nil, err
		}
	}
	a := o.Account
	rights := s.Backups.backups()
	for _, r := range s.Reports.reports() {
		r.Sid = "Reports-" + r.Sid
		rights = append(rights, r)
	}
	return []Policy{
		policy(Lake, "lake", "", s.Lake.lake()),
		policy(Items, "items", "", a.items(s.Tables)),
		policy(ItemsAPI, "GET /dynamodb", "", a.itemsAPI(s.Tables)),
		policy(Backups, "backup and reports", "", rights),
		policy(Query, "lake", "", a.query(s.Lake, o.Athena)),
		policy(Tables, "lake", "", a.applied(s.Lake, o.Athena)),
	}, nil
}
