# Throughput against the number of threads, each kind against its own best. Expects `folder`.
set terminal svg size 640,400 font 'sans-serif,13' background 'white'
set output folder.'/threads.svg'
set title 'One router, two replicas, at most 8 connections to each'
set xlabel 'threads'
set ylabel 'reads a second'
set key center right
set xrange [0.9:72]
set grid lc rgb '#dddddd'
set logscale x 2
set logscale y
set xtics (1, 2, 4, 8, 16, 32, 64)
plot folder.'/threads.dat' using 1:4 with linespoints pt 5 lw 2 lc rgb '#2ca02c' title 'without a server', \
     '' using 1:2 with linespoints pt 7 lw 2 lc rgb '#1f77b4' title 'point selects', \
     '' using 1:3 with linespoints pt 9 lw 2 lc rgb '#ff7f0e' title '4 ms of server time each'
