# Completion of unitfix(1) for fish. The program itself says what can follow; `command` takes it from PATH.
# Installed as /usr/share/fish/vendor_completions.d/unitfix.fish.

function __unitfix_complete
    command unitfix __complete (commandline --current-process --tokenize --cut-at-cursor) \
        (commandline --current-token --cut-at-cursor) 2>/dev/null
end
complete --command unitfix --no-files --keep-order --arguments '(__unitfix_complete)'
