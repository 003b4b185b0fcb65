"""Stands in for ERNIEKit's command where a GPU is missing: it learns nothing, and behaves as the real one was seen to.

Sources: the code of the v1.4 line, run on a CPU on 2026-11-25 and -26 with paddle 3.2.0 and paddleformers 0.4.0. What
it printed is in ``tests/fixtures/erniekit_*``, and is printed from there. Seen of it, and done here:

- three processes: the CLI; paddle's launcher, which the CLI waits for; the worker, in a session of its own, whose log
  file the launcher reads every now and then and prints, several lines at once (``paddle/distributed/launch``);
- SIGTERM to the CLI ends the CLI alone;
- keys that it does not know are ignored, ``lr_scheduler_type`` among those that it never reads;
- an output folder with anything in it but no checkpoint is refused; with one and without ``resume_from_checkpoint`` the
  highest is resumed from;
- the whole environment is printed at train begin, before it the arguments;
- rows are packed up to ``max_seq_len`` tokens; one that is longer leaves a traceback and is dropped; where all are, it
  goes round for ever (here: ROUNDS times, then the test has failed);
- it writes the files of ``erniekit_output_files.txt``, and config.json, generation_config.json,
  preprocessor_config.json and tokenizer_config.json in words of its own.

Not as the real one: tokens are counted by image size and characters, the loss is 1/step, and tests steer it by
STANDIN_STOP_AT (the step after which it ends without an error) and STANDIN_STEP_SECONDS.
"""
