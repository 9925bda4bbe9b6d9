# Jobs that ask for devices, look for two seconds and fail when they see another number than they asked for.
ASKED = {**{f"one{number}": 1 for number in range(8)}, "two": 2, "none": 0}


rule all:
    input:
        expand("{job}.txt", job=ASKED),


rule look:
    output:
        "{job}.txt",
    resources:
        gpu=lambda w: ASKED[w.job],
        mem_mb=500,
    params:
        asked=lambda w: ASKED[w.job],
    shell:
        "echo ${{CUDA_VISIBLE_DEVICES:-}} > {output}; sleep 2;"
        " test $(tr , '\\n' < {output} | grep -c .) = {params.asked}"
