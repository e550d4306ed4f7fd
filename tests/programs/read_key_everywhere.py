# In with_a_key.py. Reads the key outside, in instances with the filter, and in instances without it. The variable
# `read` holds read_key.py.
exec(read)
for options in [], ['--unprivileged'], ['--no-nest'], ['run', selfdock], ['--unprivileged', 'run', selfdock]:
    print(run(options, read))
print(run(['--seccomp', 'none'], read))
print(run(['--seccomp', 'none', '--unprivileged'], read))
