#!/usr/bin/env bash
# Trains the exit policy of the reference model's inflated 1 B shape, as the one that ships was:
#   exit_policy.sh WORK_DIRECTORY [LEADLINE]      (LEADLINE: the program, default ./leadline at the root)
# needs WORK/answers.trace and WORK/costs.txt, made by
#   leadline policy trace --model models/reference --prompts models/reference/tasks.jsonl -o WORK/answers.trace
#   python3 models/reference/inflate.py WORK/1b && leadline policy costs --model WORK/1b -o WORK/costs.txt
# Iterates: explore around the policy so far (replay writes logs with propensities), learn from the last three logs.
set -euo pipefail
work=$1
leadline=${2:-$(cd "$(dirname "$0")/../../.." && pwd)/leadline}
exits=2,6,8,12,16
batches=${BATCHES:-"1 4 16"}
rounds=${ROUNDS:-5}
input=(--trace "$work/answers.trace" --costs "$work/costs.txt" --deepen 2)
replay=("${input[@]}" --exits "$exits")
"$leadline" policy lede "${input[@]}" --exits 2,6,8,12 --lede "$work/lede.llp"
policy=()
logs=()
for ((i = 1; i <= rounds; ++i)); do
  epsilon=0.2
  ((i == 1)) && epsilon=0.6
  rm -rf "$work/log.$i"
  for batch in $batches; do
    repeats=$((batch == 1 ? 5 : 2))
    "$leadline" policy explore "${replay[@]}" "${policy[@]}" --batch "$batch" --repeats "$repeats" --epsilon "$epsilon" \
      --seed "$i" --log "$work/log.$i"
  done
  logs+=("$work/log.$i")
  ((${#logs[@]} > 3)) && logs=("${logs[@]:1}")
  last=(--export-anyway)
  ((i == rounds)) && last=()
  "$leadline" policy train "${logs[@]}" -o "$work/exit_policy.$i.llp" --sweeps 1 --steps "${STEPS:-15000}" "${last[@]}"
  policy=(--policy "$work/exit_policy.$i.llp")
done
cp "$work/exit_policy.$rounds.llp" "$work/exit_policy.llp"
