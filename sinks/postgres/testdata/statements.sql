-- a table with a key
CREATE TABLE "public"."t" ("note" text, "id" bigint NOT NULL, "Line" text COLLATE "C" NOT NULL, "big" text, "_op" text NOT NULL, "_version" text COLLATE "C" NOT NULL, "_event_id" text, "_event_ts" timestamp with time zone NOT NULL, "_ingest_ts" timestamp with time zone NOT NULL, PRIMARY KEY ("id", "Line"));
CREATE TABLE acequia.deletes_3 ("id" bigint NOT NULL, "Line" text COLLATE "C" NOT NULL, "_version" text COLLATE "C" NOT NULL, PRIMARY KEY ("id", "Line"));
-- its stage
CREATE TABLE acequia.stage_7 ("_op" text, "_version" text COLLATE "C", "id" bigint, "Line" text COLLATE "C", "note" text, "big" text, "_event_id" text, "_event_ts" timestamptz, "_ingest_ts" timestamptz, "_absent" text[]) WITH (autovacuum_enabled = false);
-- its columns change
ALTER TABLE "public"."t" ALTER COLUMN "id" TYPE numeric(20,0), ADD COLUMN "more" boolean;
ALTER TABLE acequia.deletes_3 ALTER COLUMN "id" TYPE numeric(20,0);
-- rows whose keys ascend
INSERT INTO "public"."t" AS t ("_op", "_version", "id", "Line", "note", "big", "_event_id", "_event_ts", "_ingest_ts") SELECT s."_op", s."_version", s."id", s."Line", s."note", s."big", s."_event_id", s."_event_ts", s."_ingest_ts" FROM acequia.stage_7 s WHERE s."_op" NOT IN ('D', 'T') ON CONFLICT ("id", "Line") DO UPDATE SET "note" = EXCLUDED."note", "big" = EXCLUDED."big", "_op" = EXCLUDED."_op", "_version" = EXCLUDED."_version", "_event_id" = EXCLUDED."_event_id", "_event_ts" = EXCLUDED."_event_ts", "_ingest_ts" = EXCLUDED."_ingest_ts" WHERE t."_version" < EXCLUDED."_version";
-- the newest of each key
DELETE FROM acequia.stage_7 WHERE ctid IN (SELECT ctid FROM (SELECT ctid, row_number() OVER (PARTITION BY "id", "Line" ORDER BY "_version" DESC, "_event_id" DESC) AS n FROM acequia.stage_7 WHERE "_op" <> 'T') c WHERE n > 1);
-- a truncate
UPDATE acequia.tables SET floor = $2 WHERE id = $1;
DELETE FROM "public"."t" WHERE "_version" < $1;
DELETE FROM acequia.deletes_3 WHERE "_version" < $1;
-- rows and deletes, below which there was a truncate
INSERT INTO acequia.deletes_3 AS d ("id", "Line", "_version") SELECT s."id", s."Line", s."_version" FROM acequia.stage_7 s WHERE s."_op" = 'D' AND s."_version" >= '0001-00000000000000000000000000000000-00000000' AND NOT EXISTS (SELECT FROM "public"."t" t WHERE t."id" = s."id" AND t."Line" = s."Line" AND t."_version" >= s."_version") ON CONFLICT ("id", "Line") DO UPDATE SET "_version" = EXCLUDED."_version" WHERE d."_version" < EXCLUDED."_version";
DELETE FROM "public"."t" t USING acequia.stage_7 s WHERE s."_op" = 'D' AND t."id" = s."id" AND t."Line" = s."Line" AND t."_version" < s."_version";
INSERT INTO "public"."t" AS t ("_op", "_version", "id", "Line", "note", "big", "_event_id", "_event_ts", "_ingest_ts") SELECT s."_op", s."_version", s."id", s."Line", s."note", s."big", s."_event_id", s."_event_ts", s."_ingest_ts" FROM acequia.stage_7 s WHERE s."_op" NOT IN ('D', 'T') AND s."_version" >= '0001-00000000000000000000000000000000-00000000' AND NOT EXISTS (SELECT FROM acequia.deletes_3 d WHERE d."id" = s."id" AND d."Line" = s."Line" AND d."_version" >= s."_version") ON CONFLICT ("id", "Line") DO UPDATE SET "note" = EXCLUDED."note", "big" = EXCLUDED."big", "_op" = EXCLUDED."_op", "_version" = EXCLUDED."_version", "_event_id" = EXCLUDED."_event_id", "_event_ts" = EXCLUDED."_event_ts", "_ingest_ts" = EXCLUDED."_ingest_ts" WHERE t."_version" < EXCLUDED."_version";
DELETE FROM acequia.deletes_3 d USING acequia.stage_7 s WHERE s."_op" NOT IN ('D', 'T') AND d."id" = s."id" AND d."Line" = s."Line" AND d."_version" < s."_version";
-- rows that lack columns
UPDATE "public"."t" t SET "note" = CASE WHEN 'note' = ANY (s."_absent") THEN t."note" ELSE s."note" END, "big" = CASE WHEN 'big' = ANY (s."_absent") THEN t."big" ELSE s."big" END, "_op" = CASE WHEN '_op' = ANY (s."_absent") THEN t."_op" ELSE s."_op" END, "_version" = CASE WHEN '_version' = ANY (s."_absent") THEN t."_version" ELSE s."_version" END, "_event_id" = CASE WHEN '_event_id' = ANY (s."_absent") THEN t."_event_id" ELSE s."_event_id" END, "_event_ts" = CASE WHEN '_event_ts' = ANY (s."_absent") THEN t."_event_ts" ELSE s."_event_ts" END, "_ingest_ts" = CASE WHEN '_ingest_ts' = ANY (s."_absent") THEN t."_ingest_ts" ELSE s."_ingest_ts" END FROM (…) s WHERE s."_acequia_n" = $1 AND s."_version" >= '0001-00000000000000000000000000000000-00000000' AND t."id" = s."id" AND t."Line" = s."Line" AND t."_version" < s."_version";
-- a table without a key
CREATE TABLE "public"."t" ("v" integer, "_op" text NOT NULL, "_version" text COLLATE "C" NOT NULL, "_event_id" text, "_event_ts" timestamp with time zone NOT NULL, "_ingest_ts" timestamp with time zone NOT NULL);
CREATE INDEX ON "public"."t" ("_version");
CREATE INDEX ON "public"."t" ("_event_id") WHERE "_event_id" IS NOT NULL;
CREATE TABLE acequia.pending_3 ("v" integer, "_op" text NOT NULL, "_version" text COLLATE "C" NOT NULL, "_event_id" text, "_event_ts" timestamp with time zone NOT NULL, "_ingest_ts" timestamp with time zone NOT NULL);
-- its rows before a truncate
INSERT INTO "public"."t" (…) SELECT … FROM (SELECT *, row_number() OVER (PARTITION BY "_event_id" ORDER BY "_version" DESC) AS "_acequia_n" FROM acequia.stage_7 WHERE "_op" <> 'T') s WHERE "_event_id" IS NULL OR "_acequia_n" = 1 AND NOT EXISTS (SELECT FROM "public"."t" t WHERE t."_event_id" = s."_event_id");
-- its first truncate
UPDATE acequia.tables SET floor = $2 WHERE id = $1;
INSERT INTO acequia.pending_3 (…) SELECT … FROM "public"."t" WHERE left("_version", 4) > left($1, 4);
DELETE FROM "public"."t" WHERE ctid IN (SELECT ctid FROM (SELECT ctid, row_number() OVER (PARTITION BY "_version" ORDER BY "_ingest_ts") AS n FROM "public"."t") c WHERE n > 1);
DELETE FROM "public"."t" WHERE "_version" < $1 OR left("_version", 4) <> left($1, 4);
INSERT INTO "public"."t" (…) SELECT … FROM (SELECT DISTINCT ON ("_version") * FROM acequia.pending_3 WHERE true AND "_version" >= $1 AND left("_version", 4) = left($1, 4) ORDER BY "_version") s WHERE NOT EXISTS (SELECT FROM "public"."t" t WHERE t."_version" = s."_version");
DELETE FROM acequia.pending_3 WHERE left("_version", 4) <= left($1, 4);
-- its rows after it
INSERT INTO "public"."t" (…) SELECT … FROM (SELECT DISTINCT ON ("_version") * FROM acequia.stage_7 WHERE "_op" <> 'T' AND "_version" >= $1 AND left("_version", 4) = left($1, 4) ORDER BY "_version") s WHERE NOT EXISTS (SELECT FROM "public"."t" t WHERE t."_version" = s."_version");
INSERT INTO acequia.pending_3 (…) SELECT … FROM acequia.stage_7 WHERE "_op" <> 'T' AND left("_version", 4) > left($1, 4);
