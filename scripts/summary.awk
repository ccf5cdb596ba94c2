# Makes a line a suite of go test's JSON events, then the sum. Exits with 1 when a suite has failed.
function field(name,    at) {
    if (!match($0, "\"" name "\":\"[^\"]*\"")) return ""
    at = length(name) + 4
    return substr($0, RSTART + at, RLENGTH - at - 1)
}
function elapsed() {
    return match($0, /"Elapsed":[0-9.]+/) ? substr($0, RSTART + 10, RLENGTH - 10) : 0
}
{
    suite = field("Package")
    if (suite == "") next
    sub(/^github\.com\/acequia-io\/acequia\/?/, "", suite)
    if (FILENAME ~ /nocgo/) suite = suite " (no cgo)"
    action = field("Action")
    if (action != "pass" && action != "fail" && action != "skip") next
    if ($0 ~ /"Test":"/) { count[suite, action]++; total[action]++; next }
    if (!(suite in result)) order[++suites] = suite
    result[suite] = action
    seconds[suite] = elapsed()
}
END {
    printf "\n%-44s %7s %8s  %s\n", "suite", "tests", "seconds", "result"
    for (i = 1; i <= suites; i++) {
        s = order[i]
        tests = count[s, "pass"] + count[s, "fail"]
        if (result[s] == "skip" && tests == 0) continue
        text = result[s] == "fail" ? "FAIL" : "ok"
        if (count[s, "skip"]) text = text ", " count[s, "skip"] " skipped"
        if (result[s] == "fail") bad = 1
        printf "%-44s %7d %8.1f  %s\n", s, tests, seconds[s], text
    }
    printf "\n%d passed, %d failed, %d skipped\n", total["pass"], total["fail"], total["skip"]
    exit bad || suites == 0
}
