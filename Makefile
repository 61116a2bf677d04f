# Two commands do everything: `make demo` and `make test`. Each makes a virtual environment of its own.
# `make test LOCKED=1` takes exactly the packages of requirements/dev.lock.
PYTHON ?= python3
PIP := -m pip --disable-pip-version-check
BUILD_INPUTS := pyproject.toml CMakeLists.txt $(shell find cmake csrc pyad_edge export -type f ! -name '*.pyc')

comma := ,

.PHONY: demo test docs native asan tsan neon fuzz-native fuzz-replay threads gpu cuda-emulated cuda-all fuzz soak kills aarch64 aarch64-run lock sbom clean

demo: .venv-demo/installed
	.venv-demo/bin/pyad-edge demo --out demo-out

test: .venv-test/installed
	.venv-test/bin/python -m pytest

# The documentation as a site; open build/site/index.html, no server is needed.
docs: .venv-test/installed
	.venv-test/bin/python -m mkdocs build --strict --quiet

# The product as a user installs it: no torch.
.venv-demo/installed: $(BUILD_INPUTS)
	$(PYTHON) -m venv .venv-demo
	.venv-demo/bin/python $(PIP) install --quiet .
	touch $@

# Editable, so that the tests see the source tree. Native sources need a new build, and so do Python files that
# come or go (which changes their folder): the installation holds a list of them.
.venv-test/installed: pyproject.toml CMakeLists.txt $(shell find cmake csrc -type f) \
		$(shell find pyad_edge export -type d ! -name __pycache__)
	$(PYTHON) -m venv .venv-test
ifeq ($(LOCKED),1)
	.venv-test/bin/python $(PIP) install --quiet --require-hashes -r requirements/dev.lock
	.venv-test/bin/python $(PIP) install --quiet --no-deps --no-build-isolation --editable .
else
	.venv-test/bin/python $(PIP) install --quiet --editable '.[train,dev]'
endif
	touch $@

# The C++ tests (tests/native) need no Python: only cmake and a compiler. `only=` names files to build.
native asan tsan neon: generator := $(if $(shell command -v ninja),-G Ninja)
asan: options := -DPYAD_SANITIZE=address,undefined,float-cast-overflow
tsan: options := -DPYAD_SANITIZE=thread
neon: options := -DCMAKE_TOOLCHAIN_FILE=cmake/aarch64-linux-gnu.cmake
# ThreadSanitizer cannot map its shadow where addresses are randomised too widely.
tsan: runner := $(shell setarch -R true 2>/dev/null && echo setarch -R)
neon: runner = PYAD_EMULATED=1 $(or $(shell command -v qemu-aarch64 || command -v qemu-aarch64-static),no-qemu)

neon: cross-tools
.PHONY: cross-tools
cross-tools:
	@command -v aarch64-linux-gnu-g++ >/dev/null && { command -v qemu-aarch64 || command -v qemu-aarch64-static; } >/dev/null \
	|| { echo "make neon needs Debian's aarch64 compiler and qemu: apt-get install g++-aarch64-linux-gnu qemu-user"; exit 1; }

native asan tsan neon:
	@mkdir -p build
	cmake -S . -B build/$@ $(generator) -DPYAD_PYTHON=OFF -DPYAD_NATIVE_TESTS=ON -DPYAD_NATIVE_ONLY="$(only)" $(options) >build/$@.log 2>&1 || { cat build/$@.log; exit 1; }
	cmake --build build/$@ --parallel
	$(runner) build/$@/native_tests $(tests)

# The programs of cmake/native_programs.cmake, built where the tests of the same sanitizers are.
fuzz-native fuzz-replay threads: generator := $(if $(shell command -v ninja),-G Ninja)
define native-program
	@mkdir -p build
	cmake -S . -B build/$(1) $(generator) -DPYAD_PYTHON=OFF -DPYAD_SANITIZE=$(2) $(4) >build/$(1).log 2>&1 || { cat build/$(1).log; exit 1; }
	cmake --build build/$(1) --parallel --target $(3)
endef
undefined := address,undefined,float-cast-overflow

# libFuzzer on a native entry point (target= one of tests/native/fuzz) for runs= inputs or, if that is less, seconds=.
fuzz-native: target := preprocess
fuzz-native: runs := 200000
fuzz-native: seconds := 0
fuzz-native: work = build/fuzz-native/corpus/$(target)
fuzz-native:
	@command -v clang++ >/dev/null || { echo "make fuzz-native needs libFuzzer, which comes with clang: apt-get install clang"; exit 1; }
	$(call native-program,fuzz-native,fuzzer-no-link$(comma)$(undefined),native_fuzz,-DPYAD_FUZZ=ON -DCMAKE_CXX_COMPILER=clang++)
	$(PYTHON) tests/native/fuzz/corpus.py unpack tests/native/fuzz/corpus/$(target).hex $(work)
	build/fuzz-native/native_fuzz --target=$(target) $(work) -artifact_prefix=build/fuzz-native/$(target)- \
	  -max_len=256 -len_control=0 -timeout=20 -rss_limit_mb=2048 -runs=$(runs) -max_total_time=$(seconds) -print_final_stats=1

# The same targets with any compiler: their corpus, and runs= seeded random inputs for each.
fuzz-replay: runs := 1000
fuzz-replay:
	$(call native-program,asan,$(undefined),native_replay,-DPYAD_NATIVE_TESTS=ON)
	cd build/asan && ./native_replay ../../tests/native/fuzz/corpus --runs=$(runs) $(if $(target),--target=$(target))

# Eight threads of so many calls= each on what a Runtime shares between threads, under both sanitizers.
threads: calls := 100000
threads:
	$(call native-program,tsan,thread,native_threads,-DPYAD_NATIVE_TESTS=ON)
	$(call native-program,asan,$(undefined),native_threads,-DPYAD_NATIVE_TESTS=ON)
	$(shell setarch -R true 2>/dev/null && echo setarch -R) build/tsan/native_threads $(calls)
	build/asan/native_threads $(calls)

# Mutated files for a reader (target= engine, onnx, signature or versions), with atheris.
fuzz: target := onnx
fuzz: runs := 100000
fuzz: .venv-test/installed
	.venv-test/bin/python $(PIP) install --quiet 'atheris>=3'
	.venv-test/bin/python tests/fuzz/run.py $(target) -runs=$(runs) -print_final_stats=1

# A stream with all simulated faults for minutes=60, or frames=1000000: what grows, gets lost or gets slower.
soak: .venv-test/installed
	.venv-test/bin/python benchmarks/soak.py $(if $(frames),--frames $(frames),--minutes $(or $(minutes),60)) $(options)

# Two writers of one engine, killed at random.
kills: kills := 1000
kills: .venv-test/installed
	.venv-test/bin/python tests/faults/kills.py $(kills)

# With a GPU: builds, runs the tests marked `cuda`, compute-sanitizer and the benchmarks, with the packages that
# $(PYTHON) has; writes benchmarks/results/gpu.<device>.json. Without one: the same tests on the host.
gpu:
	@$(PYTHON) benchmarks/gpu.py $(options)

cuda-emulated:
	@$(PYTHON) benchmarks/gpu.py --emulated $(options)

# The wheel with machine code for all architectures; fails if it is larger than PyPI likes.
cuda-all:
	@$(PYTHON) benchmarks/cuda_wheel.py $(options)

# The wheel for 64-bit Arm (Jetson), cross-compiled and checked; and run under qemu (`kernels=` names test files).
aarch64: .venv-test/installed
	.venv-test/bin/python deploy/aarch64/cross_build.py

aarch64-run: aarch64
	.venv-test/bin/python deploy/aarch64/emulate.py $(if $(kernels),--kernels $(kernels))

# Versions and hashes of the development environment. Tests run on ranges, which is what users get; LOCKED=1
# gives the same packages again, to tell a fault of ours from a new release of somebody else's.
lock:
	$(PYTHON) -m venv build/lock
	build/lock/bin/python $(PIP) install --quiet uv
	{ head -n 1 requirements/dev.lock; \
	  build/lock/bin/uv pip compile pyproject.toml --extra train --extra dev --universal --python-version 3.10 \
	    --generate-hashes --no-annotate --no-header --no-emit-index-url --no-emit-find-links --quiet; } > build/dev.lock
	mv build/dev.lock requirements/dev.lock

# What the runtime consists of, as CycloneDX; the wheel carries what is compiled into it.
sbom: .venv-demo/installed .venv-test/installed
	.venv-test/bin/python deploy/sbom.py --python .venv-demo/bin/python --out build/pyad_edge.cdx.json

clean:
	rm -rf .venv-demo .venv-test demo-out build
