// The program `pymc`: an interpreter of its own, so that the kernel knows the server by this file
// and not as Python.
//
// Init scripts, pidof, AppArmor and SELinux go by /proc/PID/exe. Where this Python has no library
// to embed, it is built with PYMC_LAUNCHER_EXECS and hands over to the interpreter, which they then
// see. Either way what the environment says to Python (PYTHONPATH, PYTHONHOME, packages in the
// user's home) does not reach the server.
//
// PYMC_PYTHON is the interpreter of .venv, by which the packages are found, wherever this file is
// linked or copied to.
#ifdef PYMC_LAUNCHER_EXECS

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define WORDS_BEFORE 7
#define PROGRAM "import sys; del sys.argv[0]; from pymc.__main__ import main; sys.exit(main())"

int main(int argc, char **argv) {
    const char **words = calloc((size_t)argc + WORDS_BEFORE + 1, sizeof *words);
    if (!words) {
        perror("pymc");
        return 1;
    }
    words[0] = PYMC_PYTHON;
    words[1] = "-I";
    words[2] = "-B";
    words[3] = "-X";
    words[4] = "utf8";
    words[5] = "-c";
    words[6] = PROGRAM;
    for (int i = 0; i < argc; i++) {
        words[WORDS_BEFORE + i] = argv[i];
    }
    execv(PYMC_PYTHON, (char *const *)words);
    perror("pymc: " PYMC_PYTHON);
    return 127;
}

#else

// Python.h wants to be first.
#include <Python.h>
#include <dlfcn.h>
#include <stdbool.h>

static void exit_if_failed(PyStatus status) {
    if (PyStatus_Exception(status)) {
        Py_ExitStatusException(status);
    }
}

// Sanitizers see only memory that malloc() gave, and Python takes its own from larger pieces.
static bool is_under_sanitizer(void) {
    return dlsym(RTLD_DEFAULT, "__asan_init") || dlsym(RTLD_DEFAULT, "__tsan_init");
}

static void start_interpreter(int argc, char **argv) {
    PyPreConfig before;
    PyPreConfig_InitIsolatedConfig(&before);
    // Names of files and keys are bytes; no locale of whoever starts the server may refuse them.
    before.utf8_mode = 1;
    if (is_under_sanitizer()) {
        before.allocator = PYMEM_ALLOCATOR_MALLOC;
    }
    exit_if_failed(Py_PreInitialize(&before));

    PyConfig config;
    PyConfig_InitIsolatedConfig(&config);
    config.install_signal_handlers = 1;
    // Who starts a daemon may be root, and `make build` has written the byte code.
    config.write_bytecode = 0;
    exit_if_failed(PyConfig_SetBytesString(&config, &config.program_name, PYMC_PYTHON));
    exit_if_failed(PyConfig_SetBytesArgv(&config, argc, argv));
    exit_if_failed(Py_InitializeFromConfig(&config));
    PyConfig_Clear(&config);
}

int main(int argc, char **argv) {
    start_interpreter(argc, argv);
    PyObject *module = PyImport_ImportModule("pymc.__main__");
    PyObject *code = module ? PyObject_CallMethod(module, "main", NULL) : NULL;
    if (!code) {
        // Ends the process itself when it is a SystemExit.
        PyErr_Print();
        return 1;
    }
    int exit_code = (int)PyLong_AsLong(code);
    Py_DECREF(code);
    Py_DECREF(module);
    return Py_FinalizeEx() < 0 ? 120 : exit_code;
}

#endif
