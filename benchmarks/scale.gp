# Throughput against the number of replicas, beside the ideal line. Expects `folder`.
set terminal svg size 640,400 font 'sans-serif,13' background 'white'
set output folder.'/scale.svg'
set title 'Reads of 10 ms, 3 connections a replica, writes running'
set xlabel 'replicas'
set ylabel 'throughput against one replica'
set key top left
set grid lc rgb '#dddddd'
set xrange [0.5:8.5]
set yrange [0:8.5]
set xtics 1
plot x with lines dt 2 lc rgb '#999999' title 'ideal', \
     folder.'/scale.dat' using 1:3 with linespoints pt 7 lw 2 lc rgb '#1f77b4' title 'ReplicaRouter'
