package checkpoint

// serverMigrations bring the state in PostgreSQL from one version to the next: the first makes it. They share no numbers with those of
// the file. Positions and what jobs do may be longer than an index takes: their digests are unique.
var serverMigrations = []string{ //nolint:gochecknoglobals // a constant table
	`create schema if not exists ` + stateSchema + `
;
create table version(n integer not null)
;
insert into version values(0)
;
create domain blob as bytea
;
create function instr(text, text) returns integer language sql immutable as 'select position($2 in $1)'
;
create function readable(bytea) returns text language plpgsql immutable as '
	begin return convert_from($1, ''UTF8''); exception when others then return encode($1, ''escape''); end'
;
create function each_number(text) returns table(value bigint) language sql immutable as '
	select x::bigint from jsonb_array_elements_text(nullif($1, '''')::jsonb) x'
;
create table lane(
	pipeline text collate "C" not null, id text collate "C" not null, epoch bigint not null, grp bigint not null default 0,
	position bytea not null default '', ended boolean not null default false, rows bigint not null default 0,
	saved_at bigint not null default 0, intent bytea,
	primary key(pipeline, id))
;
create table dead_letter(
	id bigint generated always as identity primary key,
	pipeline text collate "C" not null, lane text collate "C" not null, stream text collate "C" not null, position bytea not null, idx bigint not null,
	step text collate "C" not null, grp bigint not null, col text not null, code text not null, reason text not null,
	op text not null, version text not null, "row" bytea, raw bytea, at bigint not null,
	event_id text not null, event_time bigint not null, source text not null, retry bigint not null default 0,
	attempts bigint not null, first_at bigint not null, sinks text not null default '', absent text not null default '')
;
create unique index dead_letter_place on dead_letter(pipeline, lane, stream, sha256(position), idx, step, grp) where attempts = 1
;
create index dead_letter_retry on dead_letter(pipeline, stream, step, retry) where retry > 0
;
create table counter(stream text collate "C" primary key, n bigint not null)
;
create table memory(
	pipeline text collate "C" not null, step text collate "C" not null, lane text collate "C" not null, grp bigint not null, newest bigint not null, block bytea not null,
	primary key(pipeline, step, lane, grp))
;
create table note(pipeline text collate "C" not null, key text collate "C" not null, value bytea not null, primary key(pipeline, key))
;
create table job(
	id text collate "C" primary key, kind text not null, work text not null, state text not null, asked_by text not null, request bytea, report bytea,
	created_at bigint not null, started_at bigint not null, ended_at bigint not null,
	code text not null, place text not null, reason text not null, remedy text not null, key text not null, digest text not null)
;
create unique index job_work on job(md5(work)) where state in ('queued', 'running')
;
create unique index job_key on job(md5(key)) where key <> ''
;
create table schedule(name text collate "C" primary key, last bigint not null, paused boolean not null, job text not null)
;
create sequence lease_epoch
;
create table lease(
	key text collate "C" primary key, owner text collate "C" not null, epoch bigint not null, counter bigint not null,
	wanted text collate "C" not null default '')
;
create index lease_owner on lease(owner)`,
	`insert into counter select '` + epochs + `', nextval('lease_epoch')
;
drop sequence lease_epoch`,
}
