# Completion of unitfix(1) for bash. The program itself says what can follow; `command` takes it from PATH, and not from a
# folder that somebody has typed. Installed as /usr/share/bash-completion/completions/unitfix.

_unitfix() {
  # bash takes words apart at : @ and = as well; what was typed without blanks between is one word
  local line=${COMP_LINE:0:COMP_POINT} words=() i word blanks
  for ((i = 0; i <= COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    blanks=${line%%[![:blank:]]*}
    line=${line#"$blanks"}
    ((i < COMP_CWORD)) || word=$line # no further than the cursor
    if ((i)) && [[ -z $blanks ]]; then words[-1]+=$word; else words+=("$word"); fi
    line=${line#"$word"}
  done

  local candidate rest kept=${words[-1]}
  kept=${kept%"$2"} # what bash leaves standing before the piece that it replaces
  COMPREPLY=()
  while IFS=$'\t' read -r candidate rest; do
    # to escape a backslash would take another word than the one that was typed
    [[ $candidate == *\\* ]] || COMPREPLY+=("${candidate#"$kept"}")
  done < <(command unitfix __complete "${words[@]}" 2>/dev/null)
  # a directory goes on, and so does an option that ends in =
  [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[/=] ]] && compopt -o nospace
  return 0
}
complete -o default -F _unitfix unitfix
