/*
 * Adds up over all ranks and tells on which hosts they are. Declares what it needs of Open MPI 4 by itself, so that no
 * package for developers is needed: cc mpi.c /usr/lib/.../libmpi.so.40
 */

#include <stdio.h>
#include <unistd.h>

enum { NAME_BYTES = 16, MOST_RANKS = 64 };

extern char ompi_mpi_comm_world[], ompi_mpi_int[], ompi_mpi_char[], ompi_mpi_op_sum[];
int MPI_Init(int *, char ***);
int MPI_Comm_rank(void *, int *);
int MPI_Comm_size(void *, int *);
int MPI_Allreduce(const void *, void *, int, void *, void *, void *);
int MPI_Gather(const void *, int, void *, void *, int, void *, int, void *);
int MPI_Finalize(void);

int main(int argc, char **argv) {
  int rank, size, sum;
  char name[NAME_BYTES] = {0}, names[MOST_RANKS][NAME_BYTES];
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(ompi_mpi_comm_world, &rank);
  MPI_Comm_size(ompi_mpi_comm_world, &size);
  if (size > MOST_RANKS) return 1;
  int own = rank + 1;
  MPI_Allreduce(&own, &sum, 1, ompi_mpi_int, ompi_mpi_op_sum, ompi_mpi_comm_world);
  gethostname(name, sizeof name - 1);
  MPI_Gather(name, NAME_BYTES, ompi_mpi_char, names, NAME_BYTES, ompi_mpi_char, 0, ompi_mpi_comm_world);
  if (rank == 0) {
    printf("sum %d of %d:", sum, size);
    for (int i = 0; i < size; i++) printf(" %s", names[i]);
    printf("\n");
  }
  MPI_Finalize();
  return 0;
}
