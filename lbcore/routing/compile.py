def compile_table(*a):
    raise NotImplementedError
