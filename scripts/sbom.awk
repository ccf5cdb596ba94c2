# Makes an inventory in the form of CycloneDX 1.5 (https://cyclonedx.org/docs/1.5/json/) of what go version -m says of a program: each module that is
# linked into it, with the hash that go.sum knows it by. -v version: that of the program.
function text(s) {
    gsub(/\\/, "\\\\", s)
    gsub(/"/, "\\\"", s)
    return "\"" s "\""
}
function purl(module, of) {
    return "pkg:golang/" module (of == "" ? "" : "@" of)
}
function component(module, of, hash,    out) {
    out = "{\"type\": \"library\", \"bom-ref\": " text(purl(module, of)) ", \"name\": " text(module) ", \"version\": " text(of) ", \"purl\": " text(purl(module, of))
    if (hash != "")
        out = out ", \"properties\": [{\"name\": \"go:sum\", \"value\": " text(hash) "}]"
    return out "}"
}
$1 ~ /:$/ && NF == 2 { go = $2 }
$1 == "mod" { main = $2 }
$1 == "dep" { n++; module[n] = $2; of[n] = $3; hash[n] = $4 }
$1 == "=>" { module[n] = $2; of[n] = $3; hash[n] = $4 } # what takes its place
$1 == "build" { split($2, pair, "="); if (pair[1] ~ /^(GOOS|GOARCH|CGO_ENABLED)$/) build[pair[1]] = pair[2] }
END {
    if (main == "" || n == 0) {
        print "sbom.awk: this is no program with modules" >"/dev/stderr"
        exit 1
    }
    print "{"
    print "  \"bomFormat\": \"CycloneDX\","
    print "  \"specVersion\": \"1.5\","
    print "  \"version\": 1,"
    print "  \"metadata\": {"
    print "    \"component\": {\"type\": \"application\", \"bom-ref\": " text(purl(main, version)) ", \"name\": \"acequia\", \"version\": " text(version) ", \"purl\": " text(purl(main, version)) "},"
    print "    \"properties\": ["
    print "      {\"name\": \"go:version\", \"value\": " text(go) "},"
    print "      {\"name\": \"go:platform\", \"value\": " text(build["GOOS"] "/" build["GOARCH"]) "},"
    print "      {\"name\": \"go:cgo\", \"value\": " text(build["CGO_ENABLED"]) "}"
    print "    ]"
    print "  },"
    print "  \"components\": ["
    for (i = 1; i <= n; i++)
        print "    " component(module[i], of[i], hash[i]) (i < n ? "," : "")
    print "  ]"
    print "}"
}
